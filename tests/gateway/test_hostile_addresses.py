"""Addresses and headers that no client of ours would send: numbers without end, names that are none. Always a 4xx, at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langlog_gateway.http.page_cursor import Cursor
from langlog_gateway.http.validation import DIGITS_MAX, whole_number
from langlog_gateway.runs.streaming import event_id

from .conftest import MakeStack, Stack, make_thread
from .test_bodies import exchange, project

ENDLESS = "9" * 5_000
"""More digits than `int` reads."""


def test_a_number_is_as_long_as_a_position_may_be() -> None:
    assert whole_number("0017") == 17
    assert whole_number("9" * DIGITS_MAX) == 10**DIGITS_MAX - 1
    for text in ("", "-1", "1.0", "²", "٣", "9" * (DIGITS_MAX + 1), ENDLESS):
        assert whole_number(text) is None


@pytest.mark.parametrize("text", [ENDLESS, f"1-{ENDLESS}", f"{ENDLESS}-1", "٣-1"])
def test_an_event_id_that_no_server_gave_is_none(text: str) -> None:
    assert event_id(text) is None


async def test_a_number_without_end_is_refused(stack: Stack) -> None:
    _, assistant = await stack.call("POST", "/assistants", {"graph_id": "echo"})
    _, cron = await stack.call("POST", "/runs/crons", {"assistant_id": "echo", "schedule": "0 0 1 1 *"})
    thread_id = await make_thread(stack)
    firings = f"/runs/crons/{cron['cron_id']}/firings?limit="
    paths = [
        f"/assistants/{assistant['assistant_id']}/graph?xray={ENDLESS}",
        f"/threads/{thread_id}/state?as_of={ENDLESS}",
        f"/threads/{thread_id}/events?after={ENDLESS}",
        # the first nine digits alone are a number within the limit
        f"{firings}000000001{ENDLESS}",
        f"{firings}0000000019999999",
    ]
    for path in paths:
        status, body = await stack.call("GET", path)
        assert (status, list(body)) == (422, ["detail"]), path
    status, moments = await stack.call("GET", f"{firings}0002")
    assert (status, len(moments)) == (200, 2)


async def test_a_resumable_stream_is_joined_with_an_event_id_that_no_server_gave(stack: Stack) -> None:
    thread_id = await make_thread(stack)
    body = {"assistant_id": "echo", "input": {}, "stream_resumable": True}
    _, run = await stack.call("POST", f"/threads/{thread_id}/runs", body)
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    await stack.call("GET", f"{path}/join")
    status, _ = await stack.call("GET", f"{path}/stream", headers={"last-event-id": ENDLESS})
    assert status == 200


@pytest.mark.parametrize(("path", "column"), [("/threads/search", "updated_at"), ("/runs/search", "created_at")])
async def test_a_cursor_with_a_nul_is_refused(stack: Stack, path: str, column: str) -> None:
    after = Cursor(column, "desc", "\0", datetime(2026, 1, 1, tzinfo=UTC)).text()
    status, body = await stack.call("POST", path, {"after": after})
    assert (status, list(body)) == (422, ["detail"])


@pytest.mark.parametrize("checkpoint_id", [5, ["x"], {"a": "b"}, "x" * 1_001])
async def test_a_history_begins_before_a_checkpoint_that_a_text_names(stack: Stack, checkpoint_id: Any) -> None:
    path = f"/threads/{await make_thread(stack)}/history"
    status, body = await stack.call("POST", path, {"before": {"configurable": {"checkpoint_id": checkpoint_id}}})
    assert (status, list(body)) == (422, ["detail"])


HOSTS = (b"[", b"a:b", b"a:99999", b"")


async def test_a_host_that_is_no_name_is_400_where_the_response_names_the_server(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    async with make_stack(no_project=False, project=project(tmp_path)) as stack:
        _, assistant = await stack.call("POST", "/assistants", {"graph_id": "echo"}, headers={"authorization": "alice"})
        for path in ("/assistants/search/", f"/a2a/{assistant['assistant_id']}"):
            for host in HOSTS:
                head = f"GET {path} HTTP/1.1\r\nauthorization: alice\r\nconnection: close\r\nhost: ".encode()
                async with asyncio.timeout(30):
                    status, answer = await exchange(stack, head + host + b"\r\n\r\n")
                assert (status, b'{"detail":"The header Host' in answer) == (400, True), (path, host)


async def test_an_origin_that_is_no_address_is_not_the_servers_own(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(no_project=False, project=project(tmp_path)) as stack:
        head = (
            "GET /threads/00000000-0000-4000-8000-000000000000/stream/events HTTP/1.1\r\nhost: a\r\nauthorization: alice\r\n"
            "origin: http://[\r\ncookie: a=b\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with asyncio.timeout(30):
            status, _ = await exchange(stack, head.encode())
        assert status == 403
