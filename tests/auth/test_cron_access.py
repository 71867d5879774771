"""Crons need what their runs need: when they are created, when they are patched, and each time they fire. On both logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from langlog_scheduler.crons import Crons, may_run
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.rules.cron_authority import apply_changes, changes_between

from tests.gateway.conftest import MakeStack, Stack

PROJECT = Path(__file__).parent / "sharing" / "langgraph.json"
LIMIT_S = 60.0
YEARLY = "0 0 1 1 *"
SECONDLY = "* * * * * *"


class Shared:
    """A stack with a scheduler, and a thread of alice's that bob may read."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.thread_id = ""
        self._log = stack.backbone.log.reader([ev.RUN_EVENTS, ev.CRON_EVENTS])

    async def call(self, who: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await self.stack.call(method, path.format(self.thread_id), body, headers={"authorization": who})

    async def made(self, who: str, path: str, body: Any) -> Any:
        status, body_seen = await self.call(who, "POST", path, body)
        assert status == 200, body_seen
        return body_seen

    async def next_event(self, *types: type) -> Any:
        """The next event of one of these types, from the log's beginning on."""
        while True:
            for record in await asyncio.wait_for(self._log.read(), LIMIT_S):
                event = ev.decode(envelope.type_of(record.headers), record.value)
                if isinstance(event, types):
                    return event


@pytest.fixture
async def shared(make_stack_on_both: MakeStack) -> AsyncIterator[Shared]:
    async with make_stack_on_both(project=PROJECT) as stack:
        made = Shared(stack)
        thread = await made.made("alice", "/threads", {"metadata": {"readers": ["bob"]}})
        made.thread_id = thread["thread_id"]
        firing = asyncio.create_task(Crons(stack.backbone).follow())
        yield made
        firing.cancel()
        await asyncio.gather(firing, return_exceptions=True)
        await made._log.stop()


async def test_who_may_only_read_a_thread_can_make_no_cron_on_it(shared: Shared) -> None:
    wanted = {"assistant_id": "echo", "schedule": YEARLY, "command": {"resume": "yes"}}
    missing = (await shared.call("carol", "POST", "/threads/{}/runs/crons", wanted))[1]
    assert await shared.call("bob", "POST", "/threads/{}/runs/crons", wanted) == (404, missing)
    assert (await shared.call("alice", "POST", "/runs/crons/count", {}))[1] == 0
    made = await shared.made("alice", "/threads/{}/runs/crons", wanted)
    assert "authority" not in made
    assert "authority" not in (await shared.call("alice", "GET", f"/runs/crons/{made['cron_id']}"))[1]


async def test_a_patch_needs_what_the_runs_need(shared: Shared) -> None:
    cron = await shared.made("alice", "/threads/{}/runs/crons", {"assistant_id": "echo", "schedule": YEARLY})
    path = f"/runs/crons/{cron['cron_id']}"
    await shared.call("alice", "PATCH", "/threads/{}", {"metadata": {"owner": "alice"}})
    own = await shared.made("bob", "/threads", {})
    assert (await shared.call("alice", "PATCH", path, {"input": {"a": 1}}))[0] == 200
    status, private = await shared.call("bob", "POST", "/assistants", {"graph_id": "echo"})
    assert status == 200
    refused = await shared.call("alice", "PATCH", path, {"assistant_id": private["assistant_id"]})
    assert refused == (404, {"detail": f"Assistant '{private['assistant_id']}' not found"})
    assert own["thread_id"]


async def test_runs_of_a_cron_end_when_its_thread_is_no_longer_its_makers(shared: Shared) -> None:
    shared.stack.play = lambda _: asyncio.sleep(0)  # type: ignore[assignment,return-value]
    wanted = {"assistant_id": "echo", "schedule": SECONDLY, "config": {"configurable": {"secret": "s", "a": 1}}}
    cron = await shared.made("alice", "/threads/{}/runs/crons", wanted)
    run = await shared.next_event(ev.RunCreated)
    configurable = msgspec.json.decode(run.kwargs)["config"]["configurable"]
    assert (configurable["tier"], configurable["a"], "secret" in configurable) == ("gold", 1, False)
    assert run.metadata["stamped_by"] == "alice"
    await give_away(shared)
    refused = await shared.next_event(ev.CommandRejected)
    assert (refused.status, refused.aggregate_id) == (404, shared.thread_id)
    # without what moves each second
    (of_thread,) = (await shared.call("bob", "POST", "/runs/crons/search", {"thread_id": shared.thread_id}))[1]
    (_, of_maker) = await shared.call("alice", "GET", f"/runs/crons/{cron['cron_id']}")
    assert of_thread | {"next_run_date": None} == of_maker | {"next_run_date": None}


async def give_away(shared: Shared) -> None:
    """The thread becomes bob's."""
    given = {"metadata": {"owner": "bob", "readers": ["bob"]}}
    assert (await shared.call("alice", "PATCH", "/threads/{}", given))[0] == 200


async def test_the_owner_of_a_thread_sees_and_removes_the_crons_on_it(shared: Shared) -> None:
    cron = await shared.made("alice", "/threads/{}/runs/crons", {"assistant_id": "echo", "schedule": YEARLY})
    path = f"/runs/crons/{cron['cron_id']}"
    assert (await shared.call("bob", "GET", path))[0] == 404
    await give_away(shared)
    assert (await shared.call("bob", "GET", path))[0] == 200
    assert (await shared.call("bob", "POST", "/runs/crons/count", {"thread_id": shared.thread_id}))[1] == 1
    assert [c["cron_id"] for c in (await shared.call("bob", "POST", "/runs/crons/search", {}))[1]] == [cron["cron_id"]]
    assert (await shared.call("bob", "PATCH", path, {"enabled": False}))[0] == 404, "it is still alice's to change"
    assert (await shared.call("carol", "DELETE", path))[0] == 404
    assert (await shared.call("bob", "DELETE", path))[0] == 204
    assert (await shared.call("alice", "GET", path))[0] == 404


async def test_a_cron_on_a_private_assistant_is_its_makers_alone(shared: Shared) -> None:
    shared.stack.play = lambda _: asyncio.sleep(0)  # type: ignore[assignment,return-value]
    private = await shared.made("alice", "/assistants", {"graph_id": "echo"})
    wanted = {"assistant_id": private["assistant_id"], "schedule": SECONDLY}
    assert (await shared.call("bob", "POST", "/runs/crons", wanted))[0] == 404
    cron = await shared.made("alice", "/runs/crons", wanted)
    await shared.next_event(ev.RunCreated)
    row = await shared.stack.backbone.pool.fetchrow("SELECT authority FROM crons WHERE cron_id = $1", cron["cron_id"])
    for metadata, fires in ((b'{"owner":"alice"}', True), (b'{"owner":"bob"}', False), (b"{}", False)):
        assert may_run({**row, "assistant_metadata": metadata}) is fires
    assert may_run({"authority": None, "assistant_metadata": b"{}"}), "of an older version, or without authorization"


def test_changes_of_a_handler_are_carried_over() -> None:
    before = {"metadata": {"a": 1}, "kwargs": {"config": {"configurable": {"x": 1, "y": 2}}, "webhook": "w", "n": None}}
    after = {
        "metadata": {"a": 1, "owner": "o"},
        "kwargs": {"config": {"configurable": {"x": 1, "z": [1]}}, "webhook": None, "n": None, "context": {"c": 1}},
    }
    later: dict[str, Any] = {"metadata": {"a": 2}, "kwargs": {"config": {"configurable": {"x": 5, "y": 6}}}}
    apply_changes(later, list(changes_between(before, after)))
    assert later == {
        "metadata": {"a": 2, "owner": "o"},
        "kwargs": {"config": {"configurable": {"x": 5, "z": [1]}}, "webhook": None, "context": {"c": 1}},
    }
