"""Store items go when their time is over, and only then (wire contract §11 and §16)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from msgspec import Raw

from tests.gateway.conftest import Stack, append
from tests.stack.waiting import until

from .conftest import SOON

SWEEP = {"store": {"ttl": {"sweep_interval_minutes": SOON}}}


async def put(stack: Stack, key: str, ttl: float | None = None) -> None:
    body = {"namespace": ["n"], "key": key, "value": {"a": 1}, "ttl": ttl}
    assert (await stack.call("PUT", "/store/items", body))[0] == 204


async def keys(stack: Stack) -> set[str]:
    return {row["key"] for row in await stack.backbone.pool.fetch("SELECT key FROM store_items")}


async def test_items_past_their_ttl_are_removed(make_sweeping: Any) -> None:
    async with make_sweeping(**SWEEP) as stack:
        await put(stack, "kept")
        await put(stack, "long", 60)
        await put(stack, "short", SOON)

        async def look() -> bool:
            return await keys(stack) == {"kept", "long"}

        assert await until(stack.backbone, look)


async def test_an_item_that_was_written_again_stays(stack_without_sweeps: Stack) -> None:
    stack = stack_without_sweeps
    await put(stack, "a", SOON)
    await put(stack, "b", SOON)
    await put(stack, "a", 60)  # after a scheduler's look, before its command
    seen = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    command = cmd.WriteStore(
        namespace=["n"], ops=[cmd.StoreOp(key="a", expired_by=seen), cmd.StoreOp(key="b", expired_by=seen)]
    )
    await append(stack.backbone, cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), new_id())

    async def look() -> bool:
        return await keys(stack) == {"a"}

    assert await until(stack.backbone, look)


async def test_within_one_command_an_item_is_judged_as_it_then_stands(stack_without_sweeps: Stack) -> None:
    stack = stack_without_sweeps
    seen = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    value = Raw(b"{}")
    ops = [
        cmd.StoreOp(key="old", value=value, ttl=SOON),
        cmd.StoreOp(key="new", value=value, ttl=60),
        *(cmd.StoreOp(key=key, expired_by=seen) for key in ("old", "new", "none")),
    ]
    command = cmd.WriteStore(namespace=["n"], ops=ops)
    await append(stack.backbone, cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), new_id())

    async def look() -> bool:
        return await keys(stack) == {"new"}

    assert await until(stack.backbone, look)


async def test_a_ttl_beyond_all_time_is_refused_and_one_in_the_log_does_no_harm(stack_without_sweeps: Stack) -> None:
    stack = stack_without_sweeps
    body = {"namespace": ["n"], "key": "k", "value": {}, "ttl": 1e300}
    assert (await stack.call("PUT", "/store/items", body))[0] == 422
    ops = [cmd.StoreOp(key="far", value=Raw(b"{}"), ttl=1e300), cmd.StoreOp(key="past", value=Raw(b"{}"), ttl=-1e300)]
    command = cmd.WriteStore(namespace=["n"], ops=ops)
    await append(stack.backbone, cmd.TOPIC, command.key, command.TYPE, cmd.encode(command), new_id())

    async def look() -> bool:
        return await keys(stack) == {"far", "past"}

    assert await until(stack.backbone, look)
