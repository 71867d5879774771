"""`GET /changes`: every change of a list is delivered, or the list is reported as stale; no reader receives objects of
others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from langlog_backbone.context import open_backbone
from langlog_gateway.changes import gathering, hub
from langlog_gateway.changes.content import SQL
from langlog_gateway.service import GatewayService
from langlog_projector.announce import Announcer
from langlog_projector.publishing.list_changes import ListGathering
from langlog_schemas import commands as cmd
from langlog_schemas.messages import Answer
from msgspec.structs import replace

from tests.gateway.conftest import Attempt, MakeStack, Stack, append, make_thread
from tests.stack.server import free_port

from .conftest import Feed, following

PROJECT = Path(__file__).parents[1] / "auth" / "project" / "langgraph.json"
CRON = {"assistant_id": "echo", "schedule": "0 0 1 1 *"}


@pytest.fixture
async def stack(make_stack_on_both: MakeStack) -> Any:
    async with make_stack_on_both() as made:
        yield made


async def test_what_is_made_changed_and_deleted_is_delivered(stack: Stack) -> None:
    stack.answers = {"state_without_run": lambda _: Answer(id="", body=b'{"values":null}')}
    async with following(stack) as feed:
        assert feed.opened == {"kinds": ["threads", "runs", "assistants", "crons"]}
        thread = await make_thread(stack)
        _, run = await stack.call("POST", f"/threads/{thread}/runs", {"assistant_id": "echo", "input": {"n": 1}})
        _, assistant = await stack.call("POST", "/assistants", {"graph_id": "echo"})
        _, cron = await stack.call("POST", "/runs/crons", CRON)
        await feed.until(
            lambda: (
                feed.rows["runs"].get(run["run_id"], {}).get("status") == "success"
                and feed.rows["threads"][thread]["status"] == "idle"
                and assistant["assistant_id"] in feed.rows["assistants"]
                and cron["cron_id"] in feed.rows["crons"]
            )
        )
        assert "values" not in feed.rows["threads"][thread]
        assert "kwargs" not in feed.rows["runs"][run["run_id"]]
        status, body = await stack.call("POST", "/threads/search", {"ids": [thread]})
        assert status == 200
        row = feed.rows["threads"][thread]
        assert {name: body[0][name] for name in row.keys() & body[0].keys()} == {
            name: row[name] for name in row.keys() & body[0].keys()
        }
        assert feed.rows["crons"][cron["cron_id"]]["schedule"] == CRON["schedule"]
        await stack.call("DELETE", f"/threads/{thread}/runs/{run['run_id']}")
        await feed.until(lambda: run["run_id"] in feed.deleted)
        await stack.call("DELETE", f"/threads/{thread}")
        await stack.call("DELETE", f"/assistants/{assistant['assistant_id']}")
        await stack.call("DELETE", f"/runs/crons/{cron['cron_id']}")
        await feed.until(lambda: {thread, assistant["assistant_id"], cron["cron_id"]} <= feed.deleted)
        assert not feed.stale


async def test_kinds_that_are_not_named_are_not_sent(stack: Stack) -> None:
    async with following(stack, "?kinds=runs,assistants") as feed:
        assert feed.opened == {"kinds": ["runs", "assistants"]}
        _, run = await stack.call("POST", "/runs", {"assistant_id": "echo", "input": {}, "on_completion": "keep"})
        await feed.until(lambda: feed.rows["runs"].get(run["run_id"], {}).get("status") == "success")
        assert not feed.rows["threads"]


async def test_readers_of_different_kinds_each_receive_their_own(stack: Stack) -> None:
    async with (
        following(stack, "?kinds=threads") as threads,
        following(stack, "?kinds=runs") as runs,
        following(stack, "?kinds=runs,threads") as both,
    ):
        thread = await make_thread(stack)
        _, run = await stack.call("POST", f"/threads/{thread}/runs", {"assistant_id": "echo", "input": {"n": 1}})
        await threads.until(lambda: thread in threads.rows["threads"])
        await runs.until(lambda: run["run_id"] in runs.rows["runs"])
        await both.until(lambda: thread in both.rows["threads"] and run["run_id"] in both.rows["runs"])
        assert not threads.rows["runs"] and not runs.rows["threads"]


async def test_a_reader_that_comes_back_gets_what_it_has_missed(stack: Stack) -> None:
    async with following(stack) as feed:
        first = await make_thread(stack)
        await feed.until(lambda: first in feed.rows["threads"])
        last_id = feed.last_id
    second = await make_thread(stack)
    await stack.call("DELETE", f"/threads/{first}")
    async with following(stack, last_id=last_id) as feed:
        await feed.until(lambda: second in feed.rows["threads"] and first in feed.deleted)
        assert not feed.stale and list(feed.rows["threads"]) == [second]


async def test_another_gateway_goes_on_or_says_what_it_cannot_tell(make_stack: MakeStack) -> None:
    async with make_stack(local=False) as stack:
        async with following(stack) as feed:
            first = await make_thread(stack)
            await feed.until(lambda: first in feed.rows["threads"])
            last_id = feed.last_id
            second = await make_thread(stack)
            await feed.until(lambda: second in feed.rows["threads"])
            up_to_date = feed.last_id
        settings = replace(stack.backbone.settings, port=free_port())
        async with open_backbone(settings) as backbone:
            other = GatewayService(backbone)
            await other.start()
            try:
                stack.url = f"http://127.0.0.1:{settings.port}"
                async with following(stack, last_id=last_id) as feed:
                    assert feed.stale == ["runs", "threads"]
                async with following(stack, last_id=up_to_date) as feed:
                    assert not feed.stale
                    third = await make_thread(stack)
                    await feed.until(lambda: third in feed.rows["threads"])
                    assert not feed.stale and list(feed.rows["threads"]) == [third]
            finally:
                await other.drain()
                await other.stop()


@pytest.mark.parametrize("last_id", ["", "x", "%%%", "A" * 100_000, "kpGRkZE", "9" * 30])
async def test_an_id_that_means_nothing_makes_all_lists_stale(stack: Stack, last_id: str) -> None:
    if len(last_id) > 8_000:
        status, _ = await stack.call("GET", "/changes", headers={"last-event-id": last_id})
        assert status == 400
        return
    async with following(stack, last_id=last_id) as feed:
        assert feed.stale == ["assistants", "crons", "runs", "threads"]


async def test_a_kind_that_there_is_not_is_refused(stack: Stack) -> None:
    status, answer = await stack.call("GET", "/changes?kinds=threads,people")
    assert status == 422 and "'people'" in answer["detail"]


async def test_too_many_changes_at_once_make_a_list_stale_and_it_goes_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "GATHER_S", 1.0)
    async with following(stack) as feed:
        first = await make_thread(stack)
        await feed.until(lambda: first in feed.rows["threads"])
        with monkeypatch.context() as few:  # that a slow machine makes more than these in `GATHER_S`
            few.setattr(gathering, "CHANGES_MAX", 3)
            await asyncio.gather(*(make_thread(stack) for _ in range(60)))
            await feed.until(lambda: "threads" in feed.stale)
        last = ""
        while last not in feed.rows["threads"]:
            # the last of the many may make one more gathering stale, and this thread with it
            stale, last = len(feed.stale), await make_thread(stack)
            await feed.until(lambda: last in feed.rows["threads"] or "threads" in feed.stale[stale:])  # noqa: B023


async def test_a_lost_message_makes_lists_stale(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The projector dies between its commit and its message; whichever comes first, the next message or the check, notices."""
    monkeypatch.setattr(hub, "CHECK_S", 0.2)
    async with following(stack) as feed:
        with monkeypatch.context() as lossy:
            lossy.setattr(ListGathering, "message", lambda self, steps: None)
            await make_thread(stack)
        await feed.until(lambda: {"threads", "runs"} <= set(feed.stale))
        later = await make_thread(stack)
        await feed.until(lambda: later in feed.rows["threads"])


async def test_the_message_after_a_lost_one_makes_lists_stale(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "CHECK_S", 3600.0)
    async with following(stack) as feed:
        thread = await make_thread(stack)
        await feed.until(lambda: thread in feed.rows["threads"])
        committed, lost = Announcer.committed, []

        async def lose(self: Announcer, steps: Mapping[Any, Any], **more: Any) -> None:
            if not lost:
                lost.append(self._lists)
                self._lists.message = lambda steps: None  # type: ignore[method-assign]
            await committed(self, steps, **more)

        monkeypatch.setattr(Announcer, "committed", lose)
        for n in range(2):
            await stack.call("PATCH", f"/threads/{thread}", {"metadata": {"n": n}})
        await feed.until(lambda: "threads" in feed.stale)
        assert lost


async def test_an_idle_feed_asks_for_positions_alone(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many readers there are: one query each `CHECK_S`, and none for changes that nobody may see in a list."""
    asked: list[str] = []
    again = asyncio.Event()
    rows = stack.gateway._core.reads.rows

    async def counted(sql: str, *args: Any) -> Any:
        asked.append(sql)
        if len(asked) >= 3:
            again.set()
        return await rows(sql, *args)

    monkeypatch.setattr(hub, "CHECK_S", 0.1)
    async with following(stack), following(stack), following(stack):
        monkeypatch.setattr(stack.gateway._core.reads, "rows", counted)
        async with asyncio.timeout(60):
            await again.wait()
        assert set(asked) == {SQL["positions"]}


async def test_a_server_that_goes_down_breaks_the_connection(stack: Stack) -> None:
    async with following(stack) as feed:
        await stack.gateway.drain()
        with pytest.raises((aiohttp.ClientError, StopAsyncIteration)):
            while True:
                await feed.next()


async def test_another_tenants_things_are_never_sent(make_stack_on_both: MakeStack) -> None:
    async with make_stack_on_both(project=PROJECT, no_project=False) as stack:

        async def as_(who: str, method: str, path: str, body: Any = None) -> Any:
            status, body_seen = await stack.call(method, path, body, headers={"authorization": who})
            assert status in (200, 204), body_seen
            return body_seen

        async def self_made(who: str, readers: list[Feed]) -> set[str]:
            """Ids of things that a user makes, of which only the last is left; the user's readers have received all of it."""
            thread = (await as_(who, "POST", "/threads", {}))["thread_id"]
            run = await as_(who, "POST", f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"n": 1}})
            assert run == {"n": 1}
            assistant = (await as_(who, "POST", "/assistants", {"graph_id": "echo"}))["assistant_id"]
            cron = (await as_(who, "POST", "/runs/crons", CRON))["cron_id"]
            await as_(who, "DELETE", f"/assistants/{assistant}")
            await as_(who, "DELETE", f"/runs/crons/{cron}")
            await as_(who, "DELETE", f"/threads/{thread}")
            last = (await as_(who, "POST", "/threads", {}))["thread_id"]
            for reader in readers:
                await until_heard(reader, thread, last)
            return {thread, assistant, cron, last}

        async def until_heard(reader: Feed, deleted: str, made: str) -> None:
            await reader.until(lambda: deleted in reader.deleted and made in reader.rows["threads"])

        status, _ = await stack.call("GET", "/changes")
        assert status == 401
        async with (
            following(stack, authorization="alice") as alice,
            following(stack, authorization="bob") as bob,
            following(stack, authorization="bob") as bob_too,
        ):
            alices = await self_made("alice", [alice])
            assert not alices & await self_made("bob", [bob, bob_too])
            for reader in (bob, bob_too):
                seen = {id for rows in reader.rows.values() for id in rows} | reader.deleted
                assert not seen & alices
                assert all(row["metadata"]["owner"] == "bob" for row in reader.rows["threads"].values())
            assert "threads" not in alice.stale


async def test_a_thread_that_is_given_away_makes_the_list_of_its_former_owner_stale(make_stack: MakeStack) -> None:
    async with make_stack(project=PROJECT, no_project=False) as stack:
        _, thread = await stack.call("POST", "/threads", {}, headers={"authorization": "alice"})
        async with following(stack, "?kinds=threads", authorization="alice") as alice:
            given = cmd.PatchThread(thread_id=thread["thread_id"], metadata={"owner": "bob"})
            await append(stack.backbone, cmd.TOPIC, given.key, given.TYPE, cmd.encode(given), "given-away")
            await alice.until(lambda: alice.stale)
            assert not alice.rows["threads"] and not alice.deleted


async def test_a_run_that_waits_is_delivered_as_it_starts(stack: Stack) -> None:
    go = asyncio.Event()

    async def play(attempt: Attempt) -> None:
        await attempt.started()
        await go.wait()
        await attempt.finish({})

    stack.play = play
    async with following(stack, "?kinds=runs") as feed:
        _, run = await stack.call("POST", "/runs", {"assistant_id": "slow", "input": {}, "on_completion": "keep"})
        await feed.until(lambda: feed.rows["runs"].get(run["run_id"], {}).get("status") == "running")
        go.set()
        await feed.until(lambda: feed.rows["runs"][run["run_id"]]["status"] == "success")
