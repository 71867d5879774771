"""With custom authentication, behind a mount prefix, in read-only mode: the header that the project requires, and no
objects of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Page, expect

from tests.console.browser import Console
from tests.console.test_threads import talked
from tests.stack.server import LiveServer

PROJECT = Path(__file__).parent / "guarded" / "langgraph.json"


@pytest.fixture(scope="module")
def guarded(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    env = {"LANGLOG_CONSOLE": "read"}
    with LiveServer(PROJECT, tmp_path_factory.mktemp("guarded"), env).up() as live:
        yield live


@pytest.fixture(scope="module")
def secret(guarded: LiveServer) -> str:
    """A thread of Grace's."""
    return talked(as_caller(guarded, "grace"), "a secret of Grace's")


@pytest.fixture
def console(open_console: Callable[..., Console], guarded: LiveServer) -> Console:
    made = open_console(f"{guarded.url}/team")
    made.expected += ["401", "403", "404"]
    return made


def as_caller(server: LiveServer, key: str) -> SyncLangGraphClient:
    return get_sync_client(url=f"{server.url}/team", headers={"x-team-key": key})


def signed_in(page: Page, key: str) -> None:
    dialog = page.get_by_role("dialog", name="Credentials")
    dialog.get_by_label("Header").fill("x-team-key")
    dialog.get_by_label("Value").fill(key)
    dialog.get_by_role("button", name="Use").click()


def test_the_page_asks_for_the_header_and_forgets_it_when_it_is_closed(console: Console, guarded: LiveServer) -> None:
    talked(as_caller(guarded, "ada"), "a question of Ada's")
    page = console.open("threads")
    expect(page.get_by_role("dialog", name="Credentials")).to_contain_text("Send your key as x-team-key")
    console.check_accessible()
    first = page.get_by_role("dialog", name="Credentials").element_handle()
    signed_in(page, "nobody")
    expect(page.get_by_text("Send your key as x-team-key").first).to_be_visible()
    expect(page.get_by_role("dialog", name="Credentials")).to_be_visible()
    first.evaluate("dialog => dialog.dispatchEvent(new Event('close'))")  # as a busy browser sends it: late
    signed_in(page, "ada")
    expect(page.get_by_text("a question of Ada's").first).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])").count("ada") == 0
    page.reload()
    expect(page.get_by_role("dialog", name="Credentials")).to_be_visible()


def test_another_callers_things_are_never_shown(console: Console, guarded: LiveServer, secret: str) -> None:
    talked(as_caller(guarded, "ada"), "Ada's own")
    run = as_caller(guarded, "grace").runs.list(secret)[0]["run_id"]
    page = console.open("threads")
    signed_in(page, "ada")
    expect(page.get_by_text("Ada's own").first).to_be_visible()
    talked(as_caller(guarded, "grace"), "another secret of Grace's")
    talked(as_caller(guarded, "ada"), "a second of Ada's")
    expect(page.get_by_text("a second of Ada's").first).to_be_visible()
    expect(page.get_by_text("secret")).to_have_count(0)
    for view in ("", "/events", f"/runs/{run}", "/diff", "/travel"):
        # within the page, which keeps the header
        page.evaluate(
            "address => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }",
            f"/team/console/threads/{secret}{view}",
        )
        expect(page.get_by_role("alert").first).to_contain_text(re.compile("not found", re.IGNORECASE))
        expect(page.get_by_text("secret of Grace's")).to_have_count(0)


def test_every_endpoint_that_the_console_reads_refuses_another_caller(guarded: LiveServer, secret: str) -> None:
    """Paths are those that `console/src` calls, so that a page which reads something new is tried as well."""
    root = Path(__file__).parents[2] / "console" / "src"
    paths = set()
    for file in root.rglob("*.ts*"):
        if ".test." not in file.name:
            paths |= set(re.findall(r"at`(/threads/\$\{\w+\}[^`]*)`", file.read_text()))
    run = as_caller(guarded, "grace").runs.list(secret)[0]["run_id"]
    state = as_caller(guarded, "grace").threads.get_state(secret)["checkpoint"]["checkpoint_id"]
    assert len(paths) > 5
    with httpx.Client(base_url=f"{guarded.url}/team", headers={"x-team-key": "ada"}, timeout=60) as client:
        for path in sorted(paths):
            asked = re.sub(r"^/threads/\$\{\w+\}", f"/threads/{secret}", path)
            asked = re.sub(r"/state/\$\{\w+\}", f"/state/{state}", asked)
            asked = re.sub(r"/runs/\$\{[\w.]+\}", f"/runs/{run}", asked)
            assert "$" not in asked, asked
            for method in ("GET", "POST"):
                body = b'{"checkpoint": {}, "assistant_id": "chat"}' if method == "POST" else None
                with client.stream(method, asked, content=body) as answer:
                    if answer.status_code == 200:  # the thread stream says it in an event (wire contract 8)
                        assert asked.endswith("/stream"), f"{method} {asked}"
                        assert "404" in next(answer.iter_text())
                    else:
                        assert answer.status_code in (403, 404, 405, 409, 422), (
                            f"{method} {asked}: {answer.status_code}"
                        )


def test_read_only_mode_hides_what_changes_something(console: Console, guarded: LiveServer) -> None:
    thread = talked(as_caller(guarded, "ada"), "mail ann@example.org hello")
    page = console.open(f"threads/{thread}/travel")
    signed_in(page, "ada")
    expect(page.get_by_role("region", name="State")).to_be_visible()
    for name in ("Run on from here", "Fork into a new thread", "Resume with this answer", "Run with this input"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_pages_for_operators_say_what_they_need(console: Console) -> None:
    page = console.open("health")
    signed_in(page, "ada")
    for view in ("health", "log"):
        page.get_by_role("navigation").get_by_role("link", name=view.title(), exact=True).click()
        expect(page.get_by_role("heading", name=view.title(), exact=True)).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("This needs the permission langlog:operator")
        expect(page.get_by_text("live", exact=True)).to_have_count(0)
        console.check_accessible()


def test_everything_is_behind_the_prefix(guarded: LiveServer) -> None:
    page = httpx.get(f"{guarded.url}/team/console/threads/x")
    assert '<base href="/team/console/">' in page.text
    assert httpx.get(f"{guarded.url}/console/").status_code == 404
    root = httpx.get(f"{guarded.url}/team/", headers={"accept": "text/html"})
    assert root.headers["location"] == "/team/console/"
    said = guarded.tail(1_000)
    assert f"langlog listens on {guarded.url}/team\n" in said
    assert f"console {guarded.url}/team/console/\n" in said


def test_a_server_that_goes_away_and_comes_back_is_followed_again(console: Console, guarded: LiveServer) -> None:
    console.expected += ["ERR_", "500"]
    page = console.open("threads")
    signed_in(page, "ada")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    guarded.stop()
    expect(page.get_by_text("Connection lost")).to_be_visible()
    guarded.start()
    expect(page.get_by_text("Connection lost")).to_have_count(0)
    talked(as_caller(guarded, "ada"), "said after the restart")
    expect(page.get_by_text("said after the restart").first).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
