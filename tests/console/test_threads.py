"""The list of threads and the page of one: filters, live changes, conversation, branches, and content that is hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Route, expect

from tests.console.browser import Console

CALLS = 500_000
"""Maximum number of calls of functions for one action. Painting what is in view anew takes 20,000 to 70,000, a few times at most;
painting all that there is would take millions."""
LOOKS = 500
"""Looks at a page, of two frames each, after one of which it has come to rest: a page that works periodically never does."""


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def talked(client: SyncLangGraphClient, *texts: str, **metadata: Any) -> str:
    """Create a thread with these messages."""
    thread = client.threads.create(metadata=metadata)["thread_id"]
    for text in texts:
        client.runs.wait(thread, "chat", input=human(text))
    return thread


def test_the_list_is_live_and_keeps_to_its_filters(client: SyncLangGraphClient, console: Console) -> None:
    page = console.open("threads?metadata=team%3Dred")
    expect(page.get_by_text("No thread fits these filters")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    talked(client, "a question of the blue team", team="blue")
    thread = talked(client, "a question of the red team", team="red")
    row = page.get_by_role("row").filter(has_text="a question of the red team")
    expect(row).to_contain_text("idle")
    expect(page.get_by_text("a question of the blue team")).to_have_count(0)
    client.runs.wait(thread, "chat", input=human("mail ann@example.org hello"))
    expect(row).to_contain_text("interrupted")
    client.threads.delete(thread)
    expect(row).to_have_count(0)


def test_filters_are_the_address_and_a_wrong_one_says_why(client: SyncLangGraphClient, console: Console) -> None:
    talked(client, "filtered by graph", team="filters")
    page = console.open("threads?metadata=team%3Dfilters")
    expect(page.get_by_text("filtered by graph").first).to_be_visible()
    page.get_by_label("Graph").select_option("flow")
    expect(page).to_have_url(re.compile("graph=flow"))
    expect(page.get_by_text("No thread fits these filters")).to_be_visible()
    page.get_by_label("Graph").select_option("")
    page.locator("[name=age]").select_option("1h")
    expect(page.get_by_text("filtered by graph").first).to_be_visible()
    page.get_by_label("Id", exact=True).fill("ffff")
    page.get_by_label("Id", exact=True).press("Enter")
    expect(page.get_by_text("No thread fits these filters")).to_be_visible()
    page.get_by_label("Metadata").fill("no pair")
    page.get_by_label("Metadata").press("Enter")
    expect(page.get_by_text("write key=value").first).to_be_visible()


def test_a_conversation_is_shown_with_its_reasoning_tool_calls_and_open_question(
    client: SyncLangGraphClient, open_console: Callable[..., Console]
) -> None:
    thread = talked(client, "mail ann@example.org the build is green")
    for scheme in ("light", "dark"):
        console = open_console(color_scheme=scheme)
        page = console.open(f"threads/{thread}")
        log = page.get_by_role("log", name="Conversation")
        expect(log.get_by_text("calls send_email")).to_be_visible()
        expect(page.get_by_role("region", name="Open interrupt")).to_contain_text("May I send this?")
        expect(log.get_by_text("Mail has to be allowed first.")).to_be_hidden()
        log.get_by_text("Reasoning").click()
        expect(log.get_by_text("Mail has to be allowed first.")).to_be_visible()
        for tab in ("Checkpoints", "State", "About", "Runs"):
            page.get_by_role("tab", name=re.compile(tab)).click()
            console.check_accessible()
    page.get_by_role("link", name="Answer in the inbox").click()
    expect(page.get_by_text("May I send this?").first).to_be_visible()
    expect(page.get_by_text("This question has been answered")).to_have_count(0)


def test_what_is_said_elsewhere_appears_on_an_open_thread(client: SyncLangGraphClient, console: Console) -> None:
    thread = talked(client, "first")
    page = console.open(f"threads/{thread}")
    expect(page.get_by_text("You said: first")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    client.runs.wait(thread, "chat", input=human("second"))
    expect(page.get_by_text("You said: second")).to_be_visible()
    expect(page.get_by_role("tab", name=re.compile("Runs"))).to_contain_text("2")


SHOW = """shown => {
    Object.defineProperty(document, 'visibilityState', {value: shown ? 'visible' : 'hidden', configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""
"""Make the document a tab that is shown, or one behind others: a headless browser shows all of them."""


def test_many_tabs_can_be_open_and_one_that_is_shown_again_catches_up(
    client: SyncLangGraphClient, console: Console
) -> None:
    """A browser opens six connections to a server for all of its tabs: those that are hidden must not hold any."""
    thread = talked(client, "first")
    tabs = []
    for _ in range(5):
        tab = console.page.context.new_page()
        tab.goto(f"{console.url}/console/threads/{thread}")
        expect(tab.get_by_text("You said: first")).to_be_visible()
        expect(tab.get_by_text("live", exact=True)).to_be_visible()
        tab.evaluate(SHOW, False)
        tabs.append(tab)
    client.runs.wait(thread, "chat", input=human("second"))
    tabs[0].evaluate(SHOW, True)
    expect(tabs[0].get_by_text("You said: second")).to_be_visible()
    expect(tabs[0].get_by_text("Connection lost")).to_have_count(0)


def test_branches_are_drawn_and_each_checkpoint_has_an_address(client: SyncLangGraphClient, console: Console) -> None:
    thread = talked(client, "one", "two")
    history = client.threads.get_history(thread, limit=100)
    first_end = next(state for state in reversed(history) if not state["next"])
    client.runs.wait(thread, "chat", input=human("another two"), checkpoint=first_end["checkpoint"])
    page = console.open(f"threads/{thread}?tab=checkpoints")
    links = page.locator("a.checkpoint")
    expect(links).to_have_count(len(client.threads.get_history(thread, limit=100)))
    columns = set(page.locator(".tree circle").evaluate_all("all => all.map(c => c.getAttribute('cx'))"))
    assert len(columns) == 2
    expect(page.get_by_text("You said: another two")).to_be_visible()
    at_two = next(state for state in history if not state["next"])["checkpoint"]["checkpoint_id"]
    page.goto(f"{console.url}/console/threads/{thread}?checkpoint={at_two}")
    expect(page.get_by_text("You said: two", exact=True)).to_be_visible()
    expect(page.get_by_text("another two")).to_have_count(0)
    expect(page.get_by_text(re.compile("^As of step"))).to_be_visible()
    page.get_by_role("link", name="Back to the last state").click()
    expect(page.get_by_text("You said: another two")).to_be_visible()


def test_a_thread_that_is_not_there_is_said_to_be_missing(console: Console) -> None:
    console.expected.append("404")
    page = console.open("threads/01a1fe12-a350-7325-920e-12e7f5e14470")
    expect(page.get_by_role("alert").first).to_contain_text("not found")


def test_a_checkpoint_that_is_not_there_is_said_to_be_missing(client: SyncLangGraphClient, console: Console) -> None:
    thread = talked(client, "one")
    page = console.open(f"threads/{thread}?checkpoint=01a1fe12-a350-7325-920e-12e7f5e14470")
    expect(page.get_by_text("No such checkpoint")).to_be_visible()
    expect(page.get_by_role("link", name="Go on from here")).to_have_count(0)
    page.get_by_role("link", name="Back to the last state").click()
    expect(page.get_by_text("You said: one")).to_be_visible()


HOSTILE = """
<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"><svg onload="window.hacked = 3"><circle/></svg>
<a href="javascript:window.hacked=4">a link</a> [another](javascript:window.hacked=5) [third](data:text/html,<script>1</script>)
<iframe src="https://example.org"></iframe><form action="https://example.org"><input name=q><button>go</button></form>
<style>body { display: none }</style><div style="position:fixed;inset:0;background:red" id="main" class="skip">over all</div>

![a picture](https://example.org/tracker.png) <math><mtext><table><mglyph><style><img src=x onerror="window.hacked=6">

**still readable**
"""


@pytest.mark.parametrize("wrapped", [False, True], ids=["text", "blocks"])
def test_what_a_model_wrote_runs_nothing_loads_nothing_and_stays_readable(
    client: SyncLangGraphClient, console: Console, tmp_path: Path, wrapped: bool
) -> None:
    """The fixture fails the test on anything that leaves the server or breaks the policy."""
    said = tmp_path / "said.json"
    said.write_text(json.dumps([{"type": "text", "text": HOSTILE}] if wrapped else HOSTILE))
    thread = talked(client, f"say {said}")
    page = console.open(f"threads/{thread}")
    expect(page.locator(".markdown strong", has_text="still readable")).to_be_visible()
    expect(page.get_by_text("[image a picture: https://example.org/tracker.png]")).to_be_visible()
    article = page.locator("article.ai")
    for forbidden in (
        "script",
        "iframe",
        "form",
        "input",
        "style",
        "svg",
        "math",
        "[style]",
        "[onerror]",
        "[href^=javascript]",
        "[href^=data]",
    ):
        expect(article.locator(".markdown").locator(forbidden)).to_have_count(0)
    article.get_by_role("button", name="JSON").click()
    expect(article.get_by_text("window.hacked").first).to_be_visible()
    page.goto(f"{console.url}/console/threads")
    expect(page.get_by_role("row").filter(has_text="hacked").first).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_a_text_nested_deeper_than_the_parser_goes_is_shown_as_it_is(
    client: SyncLangGraphClient, console: Console, tmp_path: Path
) -> None:
    said = tmp_path / "said.json"
    said.write_text(json.dumps(">" * 19_000 + " at the bottom"))
    thread = talked(client, f"say {said}")
    page = console.open(f"threads/{thread}")
    expect(page.locator("article.ai").get_by_text("at the bottom")).to_be_visible()


def test_a_megabyte_of_text_is_shown_in_parts(client: SyncLangGraphClient, console: Console, tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    said.write_text(json.dumps("**[(<" * 200_000))
    thread = talked(client, f"say {said}")
    page = console.open(f"threads/{thread}")
    expect(page.get_by_role("button", name=re.compile("Show more"))).to_be_visible()
    assert page.evaluate("document.body.innerText.length") < 100_000
    page.locator("article.ai").get_by_role("button", name="JSON").click()
    expect(page.get_by_role("button", name=re.compile("more characters"))).to_be_visible()


def test_two_thousand_messages_stay_smooth(client: SyncLangGraphClient, console: Console) -> None:
    thread = client.threads.create(graph_id="chat")["thread_id"]
    messages = [{"role": ("user", "assistant")[n % 2], "content": f"message **{n}**"} for n in range(2000)]
    client.threads.update_state(thread, {"messages": messages}, as_node="talk")
    page = console.open(f"threads/{thread}")
    expect(page.get_by_text("message 1999")).to_be_visible()
    assert page.locator("article").count() < 300
    assert calls(console, lambda: page.mouse.wheel(0, -3000)) < CALLS


def test_a_list_of_a_hundred_thousand_threads_stays_smooth(console: Console) -> None:
    """The server's part is played by the test: pages of rows as it answers them, with its cursor."""
    total, size = 100_000, 100

    def search(route: Route) -> None:
        asked = route.request.post_data_json
        start = int(asked.get("after") or 0)
        rows = [row(number) for number in range(start, min(total, start + asked["limit"]))]
        headers = {"x-pagination-after": str(start + size)} if start + size < total else {}
        route.fulfill(json=rows, headers=headers)

    def row(number: int) -> dict[str, Any]:
        at = f"2026-01-01T00:00:00.{999_999 - number:06}+00:00"
        times = {"created_at": at, "updated_at": at}
        extracted = {"first": f"question {number}", "last": "answer"}
        return {"thread_id": f"{number:032x}", "status": "idle", "metadata": {}, "extracted": extracted, **times}

    console.page.route("**/threads/search", search)
    console.page.route("**/threads/count", lambda route: route.fulfill(json=total))
    page = console.page

    def opened() -> None:
        console.open("threads")
        expect(page.get_by_text(re.compile("^question 0 "))).to_be_visible()

    assert 1_000 < calls(console, opened) < CALLS
    expect(page.get_by_text("100,000 threads")).to_be_visible()
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint').length") == 1
    space = page.locator(".table .space")
    for _ in range(15):
        height = space.evaluate("space => space.style.height")
        made = calls(
            console, lambda: page.locator(".table .rows").evaluate("rows => rows.scrollTop = rows.scrollHeight")
        )
        assert made < CALLS
        expect(space).not_to_have_attribute("style", f"height: {height};")
    assert page.get_by_role("row").count() < 100
    assert calls(console, lambda: page.get_by_label("Status").select_option("idle")) < CALLS


def calls(console: Console, act: Callable[[], object]) -> int:
    """Return how many calls of functions of the console an action on the page leads to: its work, whatever the machine's speed."""
    cdp = console.page.context.new_cdp_session(console.page)

    def made() -> int:
        """Since it was asked for the last time, once two more frames are painted."""
        console.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        scripts = cdp.send("Profiler.takePreciseCoverage")["result"]
        own = [script["functions"] for script in scripts if script["url"].startswith(console.url)]
        return sum(function["ranges"][0]["count"] for functions in own for function in functions)

    cdp.send("Profiler.enable")
    cdp.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": False})
    if not any(made() == 0 for _ in range(LOOKS)):  # what went before is still being painted
        raise AssertionError(f"the page has not come to rest: it calls functions in each of {LOOKS} looks at it")
    act()
    total = made()
    cdp.detach()
    return total
