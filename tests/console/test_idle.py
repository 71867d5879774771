"""An idle console: nothing is requested while its streams are open, until something changes; then what the change needs, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Page, expect

from tests.console.browser import LIMIT_MS, Console
from tests.console.conftest import PROJECT
from tests.console.test_inbox import asked
from tests.console.test_threads import human, talked
from tests.stack.server import LiveServer

HEARTBEAT_S = 1
"""Seconds between two heartbeats of a stream: what an idle page still receives, and the clock of these tests."""
QUIET_ROUNDS = 5
"""Rounds for which nothing may be requested; in each of them, every stream has received something."""
ROUNDS_AFTER = 2
"""Rounds after a change in which nothing more may be requested than it needs."""
LOOK_MS = 50


class Traffic:
    """Requests of a page and what its streams receive, as Chromium reports them."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.asked: list[str] = []
        """Method and path of each request."""
        self._open: set[str] = set()
        self._received: dict[str, int] = {}
        """Chunks that each open stream has received, by the request's id."""
        cdp = page.context.new_cdp_session(page)
        cdp.on("Network.requestWillBeSent", self._sent)
        cdp.on("Network.responseReceived", self._answered)
        cdp.on("Network.dataReceived", self._data)
        cdp.on("Network.loadingFinished", self._over)
        cdp.on("Network.loadingFailed", self._over)
        cdp.send("Network.enable")

    def settle(self, streams: int) -> None:
        """Wait until so many streams are open, nothing else is under way, and a whole round brought no request."""
        self._until(lambda: len(self._received) == streams and self._open == set(self._received))
        while self.round():
            pass

    def round(self) -> list[str]:
        """Return what is requested until each open stream has received something more."""
        before, received = len(self.asked), dict(self._received)
        self._until(lambda: all(self._received.get(id, count + 1) > count for id, count in received.items()))
        return self.asked[before:]

    def wait_for(self, paths: list[str], since: int) -> None:
        """Wait until each of these was requested after so many requests."""
        self._until(lambda: set(paths) <= set(self.asked[since:]))

    def _until(self, holds: Callable[[], bool]) -> None:
        for _ in range(LIMIT_MS // LOOK_MS):
            if holds():
                return
            self._page.wait_for_timeout(LOOK_MS)
        pytest.fail(f"open: {self._open}, streams: {self._received}, requested last: {self.asked[-20:]}")

    def _sent(self, event: dict[str, Any]) -> None:
        self._open.add(event["requestId"])
        self.asked.append(f"{event['request']['method']} {urlsplit(event['request']['url']).path}")

    def _answered(self, event: dict[str, Any]) -> None:
        if event["response"]["mimeType"] == "text/event-stream":
            self._received[event["requestId"]] = 0

    def _data(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._received:
            self._received[event["requestId"]] += 1

    def _over(self, event: dict[str, Any]) -> None:
        self._open.discard(event["requestId"])
        self._received.pop(event["requestId"], None)


class Idle(NamedTuple):
    """A page that has all it shows, and a change of it. ``needs``: the requests that the change leads to, in any order."""

    address: str
    shown: Callable[[Page], object]
    streams: int
    change: Callable[[], object]
    changed: Callable[[Page], object]
    needs: list[str]


@pytest.fixture(scope="module")
def server(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Nobody else's changes, and heartbeats that come often."""
    env = {"LANGLOG_HEARTBEAT_SECS": str(HEARTBEAT_S)}
    with LiveServer(PROJECT, tmp_path_factory.mktemp("idle"), env).up() as live:
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer) -> SyncLangGraphClient:
    return get_sync_client(url=server.url)


def live(page: Page) -> None:
    expect(page.get_by_text("live", exact=True)).to_be_visible()


def a_list(client: SyncLangGraphClient) -> Idle:
    thread = talked(client, "listed")
    return Idle(
        "threads",
        live,
        1,
        lambda: client.threads.update(thread, metadata={"team": "red"}),
        lambda page: None,
        ["POST /threads/search"],
    )


def a_thread(client: SyncLangGraphClient) -> Idle:
    thread = talked(client, "hello")

    def shown(page: Page) -> None:
        expect(page.get_by_text("You said: hello")).to_be_visible()
        live(page)

    return Idle(
        f"threads/{thread}?tab=about",
        shown,
        2,
        lambda: client.threads.update(thread, metadata={"team": "red"}),
        lambda page: expect(page.get_by_text("red")).to_be_visible(),
        [f"GET /threads/{thread}{what}" for what in ("", "/runs", "/state")] + [f"POST /threads/{thread}/history"],
    )


def a_run(client: SyncLangGraphClient) -> Idle:
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "chat", input=human("later"), after_seconds=3600)["run_id"]

    def shown(page: Page) -> None:
        live(page)
        # why it does not move is looked up once, when it has not moved for a while
        expect(page.get_by_role("region", name="Why it does not move").get_by_role("listitem").first).to_be_visible()

    return Idle(
        f"threads/{thread}/runs/{run}",
        shown,
        1,
        lambda: client.runs.cancel(thread, run, wait=True),
        lambda page: expect(page.get_by_text("interrupted", exact=True)).to_be_visible(),
        [f"GET /threads/{thread}/runs/{run}"],
    )


def an_inbox(client: SyncLangGraphClient) -> Idle:
    thread = asked(client, "asks", question="May it go on?")
    return Idle(
        "inbox",
        live,
        1,
        lambda: client.threads.update(thread, metadata={"team": "red"}),
        lambda page: None,
        ["POST /interrupts/count", "POST /interrupts/search"],
    )


def the_health(client: SyncLangGraphClient) -> Idle:
    thread = client.threads.create()["thread_id"]
    delayed = client.http.post("/runs/count", json={"status": "pending"})
    return Idle(
        "health",
        lambda page: expect(page.get_by_text("ready", exact=True)).to_be_visible(),
        1,
        lambda: client.runs.create(thread, "chat", input=human("later"), after_seconds=3600),
        lambda page: expect(page.get_by_text(re.compile(rf"^{delayed + 1} delayed$"))).to_be_visible(),
        [],
    )


def a_list_of_assistants(client: SyncLangGraphClient) -> Idle:
    """The change concerns a thread, which the list does not show."""
    thread = talked(client, "to be deleted")
    return Idle(
        "assistants",
        lambda page: expect(page.get_by_role("region", name="Version 1")).to_be_visible(),
        1,
        lambda: client.threads.delete(thread),
        lambda page: None,
        [],
    )


PAGES = (a_list, a_thread, a_run, an_inbox, the_health, a_list_of_assistants)


@pytest.mark.parametrize("make", PAGES, ids=lambda make: make.__name__)
def test_nothing_is_requested_until_something_changes(
    make: Callable[[SyncLangGraphClient], Idle], client: SyncLangGraphClient, console: Console
) -> None:
    idle = make(client)
    traffic = Traffic(console.page)
    page = console.open(idle.address)
    idle.shown(page)
    traffic.settle(idle.streams)
    assert [traffic.round() for _ in range(QUIET_ROUNDS)] == [[]] * QUIET_ROUNDS

    before = len(traffic.asked)
    idle.change()
    idle.changed(page)
    traffic.wait_for(idle.needs, before)
    for _ in range(ROUNDS_AFTER):
        traffic.round()
    assert sorted(traffic.asked[before:]) == sorted(idle.needs)
