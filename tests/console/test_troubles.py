"""Troubles on the health page: webhooks that fail, a graph that blocks its loop, keys that are parked while one looks. And the
context of an assistant, edited by the form of its schema."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from langlog_backbone.time.clock import new_id
from playwright.sync_api import Page, expect

from tests.console.browser import Console
from tests.console.test_operate import appended
from tests.stack.server import LiveServer

PROJECT = Path(__file__).parent / "troubled" / "langgraph.json"
ENV = {"LANGLOG_WORKERS": "1", "LANGLOG_WEBHOOK_BACKOFF_SECS": "0.01", "LANGLOG_WEBHOOK_TIMEOUT_SECS": "600"}
TUNING = {"model": "small", "most_words": 10}


@pytest.fixture(scope="module")
def server(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(PROJECT, tmp_path_factory.mktemp("troubled"), ENV).up() as live:
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer) -> SyncLangGraphClient:
    return get_sync_client(url=server.url)


class Receiver(ThreadingHTTPServer):
    """Answers hooks on ``/fails`` with 500 the first time; holds all others, and that one's second try, until ``release``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.release = threading.Event()
        self.failed = False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        fails = self.path == "/fails" and not self.server.failed
        if fails:
            self.server.failed = True
        else:
            self.server.release.wait()
        self.send_response(500 if fails else 204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.release.set()
        made.shutdown()
        thread.join()


def figure(page: Page, title: str) -> Any:
    """The figure of the health page under this title."""
    return page.get_by_role("region", name="Figures").locator(".figure").filter(has_text=title)


def test_webhooks_are_shown_with_their_tries_until_they_are_delivered(
    console: Console, client: SyncLangGraphClient, receiver: Receiver
) -> None:
    page = console.open("health")
    expect(figure(page, "Webhooks under way").locator("strong")).to_have_text("0")
    webhooks = page.get_by_role("region", name="Webhooks under way")
    expect(webhooks).to_have_count(0)
    for path in ("held", "fails"):
        thread = client.threads.create()["thread_id"]
        client.runs.create(thread, "tuned", input={}, context=TUNING, webhook=f"{receiver.url}/{path}")
    expect(figure(page, "Webhooks under way").locator("strong")).to_have_text("2")
    held = webhooks.get_by_role("row").filter(has_text=f"{receiver.url}/held")
    failed = webhooks.get_by_role("row").filter(has_text=f"{receiver.url}/fails")
    expect(held.get_by_role("cell").nth(2)).to_have_text("0")
    expect(held.get_by_role("cell").nth(4)).to_have_text("\N{EN DASH}")
    expect(failed.get_by_role("cell").nth(2)).to_have_text("1")
    expect(failed.get_by_role("cell").nth(4)).to_contain_text("answered 500")
    finding = page.get_by_role("region", name="Findings").get_by_text("1 webhook deliveries have failed")
    expect(finding).to_contain_text(f"{receiver.url}/fails")
    console.check_accessible()
    receiver.release.set()
    expect(webhooks).to_have_count(0)
    expect(finding).to_have_count(0)


def test_the_run_of_a_webhook_is_one_click_away(
    console: Console, client: SyncLangGraphClient, receiver: Receiver
) -> None:
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "tuned", input={}, context=TUNING, webhook=f"{receiver.url}/held")["run_id"]
    page = console.open("health")
    page.get_by_role("region", name="Webhooks under way").get_by_role("row").filter(has_text="/held").get_by_role(
        "link"
    ).click()
    expect(page).to_have_url(re.compile(f"/threads/{thread}/runs/{run}$"))
    expect(page.get_by_role("button", name=re.compile("^answer"))).to_be_visible()


def test_a_graph_that_blocks_its_loop_is_named(console: Console, client: SyncLangGraphClient, tmp_path: Path) -> None:
    page = console.open("health")
    workers = page.get_by_role("region", name="Workers")
    expect(workers.get_by_text("blocks", exact=True)).to_be_visible()
    go = tmp_path / "go"
    runs = []
    for _ in range(2):  # a blocked loop is found by what waits for it
        thread = client.threads.create()["thread_id"]
        runs.append((thread, client.runs.create(thread, "blocks", input={"until": str(go)})["run_id"]))
    expect(workers.get_by_text("blocks blocks a loop", exact=True)).to_be_visible()
    expect(workers.get_by_text("tuned", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Findings")).to_contain_text(
        re.compile("Graphs blocks block an event loop of worker .*: an async node makes a blocking call")
    )
    expect(figure(page, "Running").locator("strong")).to_have_text("2")
    console.check_accessible()
    go.touch()
    for thread, run in runs:
        client.runs.join(thread, run)
    expect(figure(page, "Running").locator("strong")).to_have_text("0")


def test_keys_that_are_parked_while_one_looks_are_tried_again_and_dropped_one_by_one(
    console: Console, server: LiveServer
) -> None:
    console.expected += ["409"]  # what a retry answers that parks the key again
    page = console.open("health")
    expect(figure(page, "Parked keys").locator("strong")).to_have_text("0")
    parked = page.get_by_role("region", name="Dead letters")
    expect(parked).to_have_count(0)
    first, second = new_id(), new_id()
    appended(server, first, b"{broken")
    expect(parked.get_by_role("link", name=first)).to_be_visible()
    expect(figure(page, "Parked keys").locator("strong")).to_have_text("1")
    appended(server, second, b"{broken as well")
    expect(parked.get_by_role("link", name=second)).to_be_visible()
    rows = parked.locator(".parked > li")
    rows.filter(has_text=first).get_by_role("button", name="Retry").click()
    expect(page.get_by_text(f"{first} is still parked")).to_be_visible()
    expect(rows).to_have_count(2)
    rows.filter(has_text=first).get_by_role("button", name="Drop").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard it").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(second)
    rows.get_by_role("button", name="Drop").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(rows).to_have_count(1)
    rows.get_by_role("button", name="Drop").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard it").click()
    expect(parked).to_have_count(0)


def test_an_assistant_gets_another_context_by_the_form_of_its_schema(
    console: Console, client: SyncLangGraphClient
) -> None:
    made = client.assistants.create("tuned", name="tuned one", context=TUNING)["assistant_id"]
    page = console.open(f"assistants?assistant={made}")
    page.get_by_role("button", name="Edit", exact=True).click()
    form = page.get_by_role("form", name="Edit the assistant")
    context = form.get_by_role("group", name="Context")
    expect(context.get_by_label("Model", exact=True)).to_have_value('"small"')
    expect(form.get_by_label("Config as JSON")).to_have_count(0)
    console.check_accessible()
    context.get_by_label("Model", exact=True).select_option(label="large")
    context.get_by_label("Most Words", exact=True).fill("25")
    context.get_by_label("Give Tone").check()
    context.get_by_label("Tone", exact=True).fill("<b>formal</b>")
    form.get_by_role("button", name="Save as a new version").click()
    expect(form).to_have_count(0)
    second = page.get_by_role("region", name="Version 2")
    expect(second.get_by_text("in use", exact=True)).to_be_visible()
    changes = second.locator(".differences > div")
    for path, before, now in (
        ("model", "small", "large"),
        ("most_words", "10", "25"),
        ("tone", "(nothing)", "<b>formal</b>"),
    ):
        change = changes.filter(has=page.locator("dt", has_text=f"context.{path}"))
        expect(change.locator(".removed")).to_contain_text(before)
        expect(change.locator(".added")).to_contain_text(now)
    assert client.assistants.get(made)["context"] == {"model": "large", "most_words": 25, "tone": "<b>formal</b>"}
    assert client.runs.wait(None, made, input={})["answer"] == "large, 25 words, <b>formal</b>"

    page.get_by_role("group", name="Versions").get_by_role("button", name="1", exact=True).click()
    page.get_by_role("button", name="Use this version").click()
    expect(page.get_by_role("region", name="Version 1").get_by_text("in use", exact=True)).to_be_visible()
    assert client.assistants.get(made)["context"] == TUNING
    assert client.runs.wait(None, made, input={})["answer"] == "small, 10 words, plain"
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(context.get_by_label("Model", exact=True)).to_have_value('"small"')
    context.get_by_role("button", name="Edit as JSON").click()
    context.get_by_label("Context as JSON").fill('{"model": ')
    expect(form.get_by_role("button", name="Save as a new version")).to_be_disabled()
    context.get_by_label("Context as JSON").fill(json.dumps({**TUNING, "most_words": 7}))
    form.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_role("region", name="Version 3").get_by_text("in use", exact=True)).to_be_visible()
    assert client.assistants.get(made)["context"] == {**TUNING, "most_words": 7}
