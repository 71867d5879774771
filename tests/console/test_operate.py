"""The pages for operators: health with dead letters, the log's records, replays."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

from langgraph_sdk.client import SyncLangGraphClient
from langlog.whereabouts import log_alone
from langlog_backbone.log import NewRecord
from langlog_backbone.process.environment import read_settings
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from playwright.sync_api import APIResponse, Route, expect

from tests.console.browser import Console
from tests.console.test_access import signed_in
from tests.stack.server import LiveServer

BROKEN = "2026-01-01T00:00:00.000000+00:00"


def appended(server: LiveServer, key: str, body: bytes) -> None:
    """A command as another process would append it."""

    async def append() -> None:
        headers = envelope.headers(id=new_id(), type=cmd.CreateThread.TYPE, source="/test", time=BROKEN, subject=key)
        async with log_alone(read_settings(environ=server.env, data_dir=server.data)) as log:
            await log.append([NewRecord(cmd.TOPIC, key, body, headers)])

    with ThreadPoolExecutor(1) as thread:  # Playwright has a loop in this one
        thread.submit(asyncio.run, append()).result()


def run_of(client: SyncLangGraphClient, **input: object) -> tuple[str, str]:
    """A finished run of the graph ``flow``: its thread's id, and its own."""
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "flow", input={"items": [3], "fail_at": -1, **input}, raise_error=False)
    return thread, client.runs.list(thread)[0]["run_id"]


def test_health_shows_workers_readers_and_that_nothing_is_wrong(console: Console, client: SyncLangGraphClient) -> None:
    run_of(client)
    page = console.open("health")
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Workers").get_by_role("row")).to_have_count(2)
    readers = page.get_by_role("region", name="Readers of the log")
    expect(readers.get_by_role("cell", name="commands", exact=True)).to_be_visible()
    expect(readers.get_by_text(re.compile(r"^[\d.,]+/s$")).first).to_be_visible()
    console.check_accessible()


def test_health_says_why_its_stream_is_refused_and_goes_on_once_it_is_not(console: Console) -> None:
    console.expected += ["503"]
    asked: list[Route] = []

    def answer(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.fulfill(status=503, json={"detail": "Redis cannot be reached."})

    console.page.route("**/operator/health", answer)
    page = console.open("health")
    expect(page.get_by_role("alert")).to_contain_text("Redis cannot be reached.")
    while len(asked) < 2:
        page.evaluate("0")  # lets the handler above run
    asked[1].continue_()
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_parked_key_is_seen_understood_and_dropped(
    console: Console, server: LiveServer, client: SyncLangGraphClient
) -> None:
    key = new_id()
    appended(server, key, b"{broken <b>body</b>")
    page = console.open("health")
    page.get_by_role("navigation").get_by_role("link", name="Log", exact=True).click()
    page.get_by_label("Topic").select_option("dead-letters")
    expect(page.get_by_role("table", name="Records").get_by_text(key)).to_be_visible()
    page.get_by_role("link", name="Retry or drop parked keys under Health").click()
    parked = page.get_by_role("region", name="Dead letters")
    expect(parked.get_by_role("link", name=key)).to_be_visible()
    expect(page.get_by_role("region", name="Findings").get_by_text("cannot be handled")).to_be_visible()
    parked.get_by_role("button", name="Records").click()
    expect(parked.get_by_text("bad", exact=True)).to_be_visible()
    console.check_accessible()
    parked.get_by_role("button", name="Drop").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard it").click()
    expect(parked).to_have_count(0)


def test_a_record_is_found_by_key_and_leads_to_its_cause(console: Console, client: SyncLangGraphClient) -> None:
    thread, run = run_of(client)
    page = console.open(f"log?key={thread}&type=run.")
    table = page.get_by_role("table", name="Records")
    table.get_by_role("button", name=re.compile("run.succeeded|")).first.wait_for()
    expect(table.get_by_text("run.created", exact=True)).to_be_visible()
    table.get_by_role("row").filter(has_text="run.created").get_by_role("button").click()
    pane = page.get_by_role("complementary", name="Record")
    expect(pane.get_by_text(run).first).to_be_visible()
    expect(page).to_have_url(re.compile(r"record=run-events-\d+-\d+"))
    console.check_accessible()
    pane.get_by_role("link", name=re.compile(r"^commands-\d+-\d+$")).click()
    expect(pane.get_by_role("heading", name=re.compile("^commands-"))).to_be_visible()
    pane.get_by_role("button", name="Close the record").click()
    expect(pane).to_have_count(0)


def test_the_log_shows_what_is_appended_while_one_looks(console: Console, client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    page = console.open(f"log?key={thread}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    client.runs.wait(thread, "flow", input={"items": [3], "fail_at": -1})
    expect(page.get_by_text("run.succeeded", exact=True)).to_be_visible()


def test_records_that_come_while_the_log_is_searched_are_shown(console: Console, client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    late: list[tuple[Route, APIResponse]] = []
    page = console.page
    other = page.context.new_page()
    other.goto(f"{console.url}/console/log?key={thread}")
    expect(other.get_by_text("live", exact=True)).to_be_visible()
    page.route("**/operator/log/records?*", lambda route: late.append((route, route.fetch())))
    console.open(f"log?key={thread}")
    while not late:
        page.evaluate("0")  # lets the handler above run
    client.runs.wait(thread, "flow", input={"items": [3], "fail_at": -1})
    expect(other.get_by_text("run.succeeded", exact=True)).to_be_visible()
    route, response = late[0]
    route.fulfill(response=response)
    expect(page.get_by_text("run.succeeded", exact=True)).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()


def test_a_tail_goes_on_at_its_last_record_and_below_it_nothing_is_skipped(console: Console) -> None:
    tails: list[Route] = []
    asked: list[str] = []

    def record(number: int) -> dict[str, Any]:
        about = {"topic": "commands", "partition": 0, "offset": number, "key": "k", "type": "run.create.v1"}
        return {**about, "time": "2026-01-01T00:00:10+00:00", "bytes": 2, "headers": {}, "data": {}, "omitted": None}

    def searched(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(json={"records": [record(n) for n in range(5_000, 0, -1)], "cursor": "older", "scanned": 5_000})

    def tail(route: Route) -> None:
        tails.append(route)
        if len(tails) == 1:
            body = f"event: records\ndata: {json.dumps([record(5_001)])}\n\n"
            route.fulfill(content_type="text/event-stream", body=body)

    console.page.route("**/operator/log/records?*", searched)
    console.page.route("**/operator/log/stream?*", tail)
    page = console.open("log")
    expect(page.get_by_text("0@5001", exact=True)).to_be_visible()
    while len(tails) < 2:
        page.evaluate("0")  # lets the handler above run
    assert parse_qs(urlsplit(tails[1].request.url).query)["from"] == ["2026-01-01T00:00:05.000Z"]
    page.locator(".table .rows").evaluate("rows => rows.scrollTop = rows.scrollHeight")
    expect(page.get_by_text("The newest 5,000 are shown")).to_be_visible()
    assert len(asked) == 1


def test_the_log_is_read_by_itself_once_it_can_be_again(console: Console, client: SyncLangGraphClient) -> None:
    thread, _ = run_of(client)
    console.expected += ["503"]
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) < 3:
            route.fulfill(status=503, json={"detail": "The log cannot be reached."})
        else:
            route.continue_()

    console.page.route("**/operator/log/records?*", answer)
    page = console.open(f"log?key={thread}")
    expect(page.get_by_role("alert")).to_contain_text("The log cannot be reached.")
    expect(page.get_by_text("run.succeeded", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_search_without_a_hit_says_how_far_it_looked(console: Console, client: SyncLangGraphClient) -> None:
    run_of(client)
    page = console.open("log?type=nothing.of.this.kind")
    expect(page.get_by_text("No record fits these filters")).to_be_visible()
    expect(page.get_by_text(re.compile(r"[\d,]+ records? looked at"))).to_be_visible()
    page.get_by_label("From").fill("yesterday")
    page.get_by_label("From").blur()
    expect(page.get_by_role("alert")).to_contain_text("is no time")


def test_a_run_is_replayed_node_by_node(console: Console, client: SyncLangGraphClient) -> None:
    thread, run = run_of(client)
    page = console.open(f"replay?thread={thread}")
    page.get_by_role("list", name="Runs of the thread").get_by_role("radio").check()
    expect(page).to_have_url(re.compile(run))
    page.get_by_role("button", name="Run it in the sandbox").click()
    expect(page.get_by_text("the replay matches the recorded run")).to_be_visible()
    steps = page.get_by_role("list", name="Steps").get_by_role("listitem")
    expect(steps.first).to_be_visible()
    expect(steps.get_by_text("different")).to_have_count(0)
    console.check_accessible()


def test_a_replay_is_not_left_to_the_next_caller(console: Console, client: SyncLangGraphClient) -> None:
    thread, run = run_of(client)
    page = console.open(f"replay?thread={thread}&run={run}")
    page.get_by_role("button", name="Run it in the sandbox").click()
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    page.get_by_role("button", name="Credentials").click()
    signed_in(page, "grace")
    expect(page.get_by_role("region", name="Verdict")).to_have_count(0)
    expect(page.get_by_role("list", name="Steps")).to_have_count(0)
    expect(page.get_by_role("button", name="Run it in the sandbox")).to_be_enabled()
    held: list[Route] = []
    page.route("**/replay", lambda route: held.append(route))
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/replay")):
        page.get_by_role("button", name="Run it in the sandbox").click()
        expect(page.get_by_text("Waiting for an executor")).to_be_visible()
        page.get_by_role("button", name="Credentials").click()
        signed_in(page, "ada")
    expect(page.get_by_text("Waiting for an executor")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert len(held) == 1


def test_a_run_that_never_began_cannot_be_replayed_and_the_page_says_why(
    console: Console, client: SyncLangGraphClient
) -> None:
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "flow", input={"items": [], "fail_at": -1}, after_seconds=3600)["run_id"]
    page = console.open(f"replay?thread={thread}&run={run}")
    page.get_by_role("button", name="Run it in the sandbox").click()
    expect(page.get_by_role("alert")).to_contain_text("never dispatched")
    client.runs.delete(thread, run)
