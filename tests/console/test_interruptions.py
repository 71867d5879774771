"""Streams that break and answers that are refused, late or out of order: the list of threads and a thread's page lose nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.console.browser import Console
from tests.console.test_threads import human, talked

Held = tuple[Route, APIResponse]
"""A request, and the answer to it that the page has not received yet."""


def on_two_pages(console: Console, team: str) -> tuple[Page, Page]:
    """Return two pages with the same empty list, which both follow its changes."""
    page = console.open(f"threads?metadata=team%3D{team}")
    other = page.context.new_page()
    other.goto(page.url)
    for one in (page, other):
        expect(one.get_by_text("No thread fits these filters")).to_be_visible()
        expect(one.get_by_text("live", exact=True)).to_be_visible()
    return page, other


def give(page: Page, held: Held) -> None:
    """Answer the request; return once the page has been painted with the answer."""
    route, response = held
    with page.expect_response("**/threads/search"):
        route.fulfill(response=response)
    page.evaluate("new Promise(shown => requestAnimationFrame(() => requestAnimationFrame(shown)))")


def test_a_feed_that_breaks_before_its_first_event_hides_no_change(
    client: SyncLangGraphClient, console: Console
) -> None:
    """Without an event there is no id to continue from: what changes until the feed is opened again is in none of its messages."""
    feeds: list[Route] = []

    def opened(route: Route) -> None:
        feeds.append(route)
        if len(feeds) == 1:
            route.fulfill(content_type="text/event-stream", body="")

    console.page.route("**/changes", opened)
    with console.page.expect_request(lambda request: request.url.endswith("/changes") and len(feeds) == 1):
        page = console.open("threads?metadata=team%3Dbroken")
    expect(page.get_by_text("No thread fits these filters")).to_be_visible()
    talked(client, "said while the feed was away", team="broken")
    feeds[1].continue_()
    expect(page.get_by_text("said while the feed was away").first).to_be_visible()


def test_a_path_that_something_blocks_is_not_asked_for_without_pause(console: Console) -> None:
    """A filter of the browser, or a proxy that breaks off one answer, while the server answers all else."""
    console.expected += ["ERR_BLOCKED_BY_CLIENT"]
    page = console.page
    page.add_init_script(
        "const set = setTimeout; let pauses = '';"
        "setTimeout = (run, ms) => (document.documentElement.dataset.pauses = pauses += ` ${ms} `, set(run, ms))"
    )
    page.route("**/threads/search", lambda route: route.abort("blockedbyclient"))
    console.open("threads")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.locator("html")).to_have_attribute("data-pauses", re.compile(" 250 .* 500 .* 1000 "))
    page.unroute("**/threads/search")
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("status", [503, 500])
def test_a_change_whose_query_is_refused_is_queried_again(
    client: SyncLangGraphClient, console: Console, status: int
) -> None:
    console.expected += [str(status)]
    refused: list[Route] = []

    def searched(route: Route) -> None:
        if refused or '"ids"' not in (route.request.post_data or ""):
            route.fallback()
            return
        refused.append(route)
        route.fulfill(status=status, json={"detail": "Postgres is unavailable"})

    page = console.open(f"threads?metadata=team%3Drefused-{status}")
    expect(page.get_by_text("No thread fits these filters")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    page.route("**/threads/search", searched)
    client.threads.create(metadata={"team": f"refused-{status}"})
    expect(page.get_by_role("row").filter(has_text="idle")).to_have_count(1)
    assert len(refused) == 1


def test_a_list_that_arrives_late_hides_no_change(client: SyncLangGraphClient, console: Console) -> None:
    """The answer to a query that began before a change must not replace what was queried after it."""
    page, other = on_two_pages(console, "late")
    late: list[Held] = []

    def searched(route: Route) -> None:
        if late:
            route.fallback()
        else:
            late.append((route, route.fetch()))

    page.route("**/threads/search", searched)
    page.get_by_role("button", name="Refresh").click()
    while not late:
        page.evaluate("0")  # lets the handler above run
    talked(client, "said before the answer", team="late")
    expect(other.get_by_text("said before the answer").first).to_be_visible()
    give(page, late[0])
    expect(page.get_by_text("said before the answer").first).to_be_visible()


def test_changes_are_looked_up_by_one_query_at_a_time(client: SyncLangGraphClient, console: Console) -> None:
    """Of two queries under way, the answer to the older one might be shown last."""
    page, other = on_two_pages(console, "turns")
    late: list[Held] = []

    def searched(route: Route) -> None:
        if late or '"ids"' not in (route.request.post_data or ""):
            route.fallback()
        else:
            late.append((route, route.fetch()))

    page.route("**/threads/search", searched)
    thread = talked(client, team="turns")
    while not late:
        page.evaluate("0")  # lets the handler above run
    client.runs.wait(thread, "chat", input=human("said after the query"))
    expect(other.get_by_text("said after the query").first).to_be_visible()
    give(page, late[0])
    expect(page.get_by_text("said after the query").first).to_be_visible()


def test_changes_of_one_list_are_not_looked_up_for_the_next(client: SyncLangGraphClient, console: Console) -> None:
    console.expected += ["503"]
    page = console.open("threads?metadata=team%3Done")
    expect(page.get_by_text("No thread fits these filters")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    refused: list[Route] = []

    def searched(route: Route) -> None:
        if refused or '"ids"' not in (route.request.post_data or ""):
            route.fallback()
            return
        refused.append(route)
        route.fulfill(status=503, json={"detail": "Postgres is unavailable"})

    page.route("**/threads/search", searched)
    with page.expect_response(lambda response: response.status == 503):
        talked(client, "said in the first list", team="one")
    page.get_by_label("Metadata").fill("team=two")
    page.get_by_label("Metadata").press("Enter")
    expect(page.get_by_text("No thread fits these filters")).to_be_visible()
    talked(client, "said in the second list", team="two")
    expect(page.get_by_text("said in the second list").first).to_be_visible()
    expect(page.get_by_text("said in the first list")).to_have_count(0)


def test_a_list_that_cannot_be_counted_shows_no_other_count(console: Console) -> None:
    console.expected += ["500"]
    times = {"created_at": "2026-01-01T00:00:00+00:00", "updated_at": "2026-01-01T00:00:00+00:00"}
    row = {
        "thread_id": "0" * 32,
        "status": "idle",
        "metadata": {},
        "extracted": {"first": "the only question"},
        **times,
    }

    def counted(route: Route) -> None:
        if "status" in (route.request.post_data or ""):
            route.fulfill(status=500, json={"detail": "It takes too long"})
        else:
            route.fulfill(json=7)

    def searched(route: Route) -> None:
        # the second page never comes
        if '"after"' not in (route.request.post_data or ""):
            route.fulfill(json=[row], headers={"x-pagination-after": "1"})

    console.page.route("**/threads/search", searched)
    console.page.route("**/threads/count", counted)
    page = console.open("threads")
    expect(page.get_by_text("7 threads", exact=True)).to_be_visible()
    with page.expect_response("**/threads/count"):
        page.get_by_label("Status").select_option("idle")
    expect(page.get_by_text("the only question").first).to_be_visible()
    expect(page.get_by_text("7 threads", exact=True)).to_have_count(0)


def test_a_slow_read_of_a_busy_thread_arrives(client: SyncLangGraphClient, console: Console) -> None:
    """Each change asks for another read: none of them may break off the one under way."""
    thread = talked(client, "first")
    held: list[Route] = []
    page = console.page
    page.route("**/threads/*/state", lambda route: held.append(route))
    console.open(f"threads/{thread}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    while not held:
        page.evaluate("0")  # lets the handler above run
    with page.expect_response(re.compile("/threads/[0-9a-f-]+/runs[?]")):  # read again after a change
        client.runs.wait(thread, "chat", input=human("second"))
    held[0].continue_()
    expect(page.get_by_text("You said: second")).to_be_visible()


def test_a_thread_whose_stream_the_server_ends_with_an_error_is_live_again(
    client: SyncLangGraphClient, console: Console
) -> None:
    """Credentials that have expired, or a handler of the project that is away."""
    thread = talked(client, "first")
    events: list[Route] = []
    streams: list[Route] = []

    def ended(status: int) -> dict[str, Any]:
        data = json.dumps({"error": "HTTPException", "message": f"{status}: cannot be checked"})
        return {"content_type": "text/event-stream", "body": f"event: error\ndata: {data}\n\n"}

    def opened(route: Route) -> None:
        events.append(route)
        if len(events) == 1:
            route.fulfill(**ended(503))

    def refused(route: Route) -> None:
        streams.append(route)
        route.fulfill(**ended(404))

    page = console.page
    page.route("**/threads/*/events?*", opened)
    page.route("**/threads/*/stream", refused)
    console.open(f"threads/{thread}")
    expect(page.get_by_text("You said: first")).to_be_visible()
    while len(events) < 2:
        page.evaluate("0")  # lets the handler above run
    expect(page.get_by_text("live", exact=True)).to_have_count(0)
    events[1].continue_()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    client.runs.wait(thread, "chat", input=human("second"))
    expect(page.get_by_text("You said: second")).to_be_visible()
    assert len(streams) == 1, "a stream that is refused for good is asked for again"


def test_the_streams_of_a_browser_whose_clock_is_ahead_begin_by_the_servers(
    client: SyncLangGraphClient, console: Console
) -> None:
    thread = talked(client, "first")
    page = console.page
    page.add_init_script("const now = Date.now; Date.now = () => now() + 86_400_000")
    with page.expect_request("**/threads/*/events?*") as asked:
        console.open(f"threads/{thread}")
    begin = datetime.fromisoformat(parse_qs(urlsplit(asked.value.url).query)["from"][0])
    assert abs(datetime.now(UTC) - begin) < timedelta(hours=1)
