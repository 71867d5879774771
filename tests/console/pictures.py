"""Takes docs/pictures/*.png: each page of the console with something on it, light and dark. `make pictures`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Page, expect, sync_playwright

from tests.console.browser import LIMIT_MS, ROOT, Console, launch
from tests.console.conftest import PROJECT
from tests.stack.built import node_build
from tests.stack.server import LiveServer

FOLDER = ROOT / "docs" / "pictures"

QUESTIONS = (
    "Which of our customers have not paid yet?",
    "mail ann@example.org the build is green",
    "Summarise the release notes in three sentences, for people who do not program.",
    "mail bob@example.org lunch is at one",
    "What did we decide about retention?",
)


def seed(client: SyncLangGraphClient) -> dict[str, str]:
    """Threads of every kind. Names in the addresses of `PICTURES` → ids."""
    names = {}
    for number, question in enumerate(QUESTIONS):
        thread = client.threads.create(metadata={"user": ("ada", "grace")[number % 2]})["thread_id"]
        client.runs.wait(thread, "chat", input={"messages": [{"role": "user", "content": question}]})
        if number == 1:
            client.runs.wait(thread, "chat", command={"resume": "yes"})
            names["mailed"] = thread
    for items, fail_at in (([3, 4, 5], -1), ([3, 4, 5], 4)):
        thread = client.threads.create(metadata={"user": "ada"})["thread_id"]
        client.runs.wait(thread, "flow", input={"items": items, "fail_at": fail_at}, raise_error=False)
        name = "worked" if fail_at < 0 else "failed"
        names[name] = thread
        names[f"{name}_run"] = client.runs.list(thread)[0]["run_id"]
    for graph, asked in (("refunds", {}), ("reviews", {}), ("asks", {"question": "Shall the report go out today?"})):
        client.runs.wait(client.threads.create(metadata={"user": "ada"})["thread_id"], graph, input=asked)
    for graph in ("chat", "flow"):
        names[graph] = client.assistants.search(graph_id=graph)[0]["assistant_id"]
    cron = client.crons.create(names["flow"], schedule="0 9 * * 1-5", input={"items": [1], "fail_at": -1})
    names["cron"] = cron["cron_id"]
    for user in ("ada", "grace"):
        for number, text in enumerate(("prefers short answers", "works in Zurich", "asks about invoices on Mondays")):
            client.store.put_item(["users", user, "memories"], f"memory-{number + 1}", {"text": text})
    return names


def threads(page: Page) -> None:
    expect(page.get_by_role("row")).not_to_have_count(0)


def thread(page: Page) -> None:
    expect(page.locator("a.checkpoint")).not_to_have_count(0)
    expect(page.get_by_role("log").get_by_text("Done: sent")).to_be_visible()


def health(page: Page) -> None:
    expect(page.get_by_role("region", name="Readers of the log").get_by_text("/s").first).to_be_visible()


def replayed(page: Page) -> None:
    page.get_by_role("button", name="Run it in the sandbox").click()
    expect(page.get_by_text("the replay matches the recorded run")).to_be_visible()


def run(page: Page) -> None:
    expect(page.get_by_role("button", name="finish").or_(page.get_by_role("region", name="Failure"))).to_be_visible()


def diff(page: Page) -> None:
    expect(page.get_by_role("region", name="Changes")).to_be_visible()


def travel(page: Page) -> None:
    expect(page.get_by_role("region", name="State")).to_be_visible()


def question(page: Page) -> None:
    expect(page.get_by_role("article", name="Question")).to_be_visible()


def conversation(page: Page) -> None:
    expect(page.get_by_role("region", name="Messages and state").get_by_text("Done: sent to")).to_be_visible()


def drawn(page: Page) -> None:
    expect(page.get_by_role("region", name="Drawing").get_by_text("1 failed")).to_be_visible()


def firings(page: Page) -> None:
    expect(page.get_by_role("region", name="Next firings").get_by_role("listitem")).to_have_count(5)


def article(page: Page) -> None:
    expect(page.get_by_role("region", name="Version 1")).to_be_visible()


def documented(page: Page) -> None:
    expect(page.get_by_role("region", name="Try it")).to_be_visible()


PICTURES: list[tuple[str, str, Callable[[Page], None]]] = [
    ("threads", "threads", threads),
    ("runs", "runs", threads),
    ("thread", "threads/{mailed}?tab=checkpoints", thread),
    ("health", "health", health),
    ("log", "log?type=run.", threads),
    ("replay", "replay?thread={worked}&run={worked_run}", replayed),
    ("run", "threads/{failed}/runs/{failed_run}", run),
    ("events", "threads/{mailed}/events?at=1", threads),
    ("diff", "threads/{mailed}/diff", diff),
    ("travel", "threads/{failed}/travel", travel),
    ("inbox", "inbox?graph=refunds", question),
    ("try", "try?assistant={chat}&thread={mailed}", conversation),
    ("graph", "graph?assistant={flow}", drawn),
    ("crons", "crons?cron={cron}", firings),
    ("assistants", "assistants?assistant={flow}", article),
    ("store", "store", threads),
    ("docs", "docs?find=run&operation=post_threads_thread_id_runs_wait", documented),
]
"""Name of the picture, address (with names of `seed` in braces), and what waits until the page shows all."""


def main() -> None:
    node_build().CONSOLE.build()
    expect.set_options(timeout=LIMIT_MS)
    FOLDER.mkdir(exist_ok=True)
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, LiveServer(PROJECT, Path(folder)).up() as server:
        names = seed(get_sync_client(url=server.url))
        with sync_playwright() as playwright:
            browser = launch(playwright)
            for name, address, shown in PICTURES:
                if wanted and name not in wanted:
                    continue
                for scheme in ("light", "dark"):
                    console = Console(browser, server.url, color_scheme=scheme)
                    shown(console.open(address.format(**names)))
                    file = FOLDER / (f"{name}.png" if scheme == "light" else f"{name}-dark.png")
                    console.page.screenshot(path=file)
                    console.close()
            browser.close()


if __name__ == "__main__":
    main()
