"""The timeline of a run and the records of a thread: what failed, what came of what, live."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Route, expect

from tests.console.browser import Console
from tests.console.test_threads import human


def failed(client: SyncLangGraphClient) -> tuple[str, str]:
    """A thread whose run failed in a node of a subgraph, and the run."""
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "flow", input={"items": [3, 4], "fail_at": 4}, raise_error=False)
    return thread, client.runs.list(thread)[0]["run_id"]


def test_from_a_failed_run_to_its_node_input_error_and_state_before_in_three_clicks(
    client: SyncLangGraphClient, open_console: Callable[..., Console]
) -> None:
    thread, _ = failed(client)
    console = open_console()
    page = console.open(f"threads/{thread}")
    page.get_by_role("link", name="What happened").click()
    failure = page.get_by_role("region", name="Failure")
    expect(failure).to_contain_text("Node add failed: ValueError item 4 cannot be added")
    failure.get_by_text("Its input").click()
    expect(failure.get_by_text("fail_at")).to_be_visible()
    console.check_accessible()
    failure.get_by_role("link", name="State before it").click()
    expect(page.get_by_text(re.compile("^As of step"))).to_be_visible()
    expect(page.get_by_text("planned 2 items")).to_be_visible()


def test_a_timeline_shows_waits_attempts_and_nodes_in_both_themes(
    client: SyncLangGraphClient, open_console: Callable[..., Console]
) -> None:
    thread, run = failed(client)
    for scheme in ("light", "dark"):
        console = open_console(color_scheme=scheme)
        page = console.open(f"threads/{thread}/runs/{run}")
        for label in ("Waited for a worker", "Attempt 1", "plan", "work", "add"):
            expect(page.get_by_role("button", name=re.compile(f"^{label}"))).to_be_visible()
        page.get_by_role("button", name=re.compile("^plan")).click()
        expect(page).to_have_url(re.compile(r"bar=\d"))
        expect(page.get_by_role("region", name="About plan").get_by_text("items")).to_be_visible()
        console.check_accessible()


def test_a_run_is_seen_while_it_goes_on(client: SyncLangGraphClient, console: Console) -> None:
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "chat", input=human("later"), after_seconds=600)["run_id"]
    page = console.open(f"threads/{thread}/runs/{run}")
    expect(page.get_by_role("button", name=re.compile("Delayed by 600 s"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("interrupted", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_nodes_that_run_now_are_named_on_the_timeline(
    client: SyncLangGraphClient, console: Console, tmp_path: Path
) -> None:
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "slow", input={"until": str(tmp_path / "go")})["run_id"]
    page = console.open(f"threads/{thread}/runs/{run}")
    for node in ("work", "wait"):
        expect(page.get_by_role("button", name=re.compile(f"^{node} running"))).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^begin"))).to_be_visible()
    console.check_accessible()
    (tmp_path / "go").touch()
    expect(page.get_by_text("success", exact=True)).to_be_visible()
    expect(page.locator(".bar.open")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("^wait"))).to_have_count(1)


def test_events_whose_stream_ends_with_an_error_go_on(client: SyncLangGraphClient, console: Console) -> None:
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "chat", input=human("hello"))
    asked: list[Route] = []

    def answer(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            body = 'event: error\ndata: {"error":"HTTPException","message":"503: cannot be checked"}\n\n'
            route.fulfill(content_type="text/event-stream", body=body)

    console.page.route(f"{console.url}/threads/*/events", answer)
    page = console.open(f"threads/{thread}/events")
    expect(page.get_by_role("alert")).to_contain_text("cannot be checked")
    while len(asked) < 2:
        page.evaluate("0")  # lets the handler above run
    asked[1].continue_()
    expect(page.get_by_role("row").filter(has_text="run.succeeded")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_run_of_more_events_than_are_held_ends_on_its_page(client: SyncLangGraphClient, console: Console) -> None:
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "chat", input=human("later"), after_seconds=600)["run_id"]
    event = '{"type":"langlog.checkpoint.deleted.v1","time":"2026-01-01T00:00:00Z","data":{}}'
    body = "".join(f"id: {n}\nevent: event\ndata: {event}\n\n" for n in range(20_001))
    console.page.route(
        f"{console.url}/threads/*/runs/*/events",
        lambda route: route.fulfill(content_type="text/event-stream", body=body),
    )
    page = console.open(f"threads/{thread}/runs/{run}")
    expect(page.get_by_text("The timeline is of the first 20,000 events.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    client.runs.cancel(thread, run)
    expect(page.get_by_text("interrupted", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_records_link_to_their_command_and_to_what_else_came_of_it(
    client: SyncLangGraphClient, open_console: Callable[..., Console]
) -> None:
    thread = client.threads.create()["thread_id"]
    client.runs.create(thread, "chat", input=human("later"), after_seconds=600)
    client.runs.wait(thread, "chat", input=human("hello"), multitask_strategy="interrupt")
    console = open_console(permissions=["clipboard-read", "clipboard-write"])
    page = console.open(f"threads/{thread}/events")
    page.get_by_role("row").filter(has_text="run.cancelled").get_by_role("link").click()
    record = page.get_by_role("complementary", name="Record")
    expect(record).to_contain_text("run.create at commands /")
    record.get_by_role("link", name="run.created").click()
    expect(record.get_by_role("heading")).to_have_text("run.created")
    expect(record).to_contain_text("dispatched")
    console.check_accessible()
    record.get_by_role("button", name="Command").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("langlog log show ")
    record.get_by_role("button", name="JSON").click()
    assert '"langlog.run.created.v1"' in page.evaluate("navigator.clipboard.readText()")
    client.runs.wait(thread, "chat", input=human("again"))
    expect(page.get_by_role("row").filter(has_text="run.succeeded")).to_have_count(2)
    page.get_by_label("Kind").select_option("run.succeeded")
    expect(page.get_by_role("row")).to_have_count(3)
    record.get_by_role("link", name=re.compile("^commands")).click()
    expect(page.get_by_role("heading", name="Log")).to_be_visible()
    expect(page.get_by_text("run.create").first).to_be_visible()
