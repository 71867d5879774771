"""Every method of ``client.crons``."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from tests.sdk.driver import Driver, drives

YEARLY = "0 0 1 1 *"
END = datetime(2999, 1, 1, tzinfo=UTC)


def common(suite: str) -> dict[str, Any]:
    """Options that both kinds of crons share."""
    return {
        "schedule": YEARLY,
        "input": {"text": "tick"},
        "metadata": {"suite": suite},
        "webhook": "https://hooks.invalid/langlog",
        "interrupt_before": [],
        "interrupt_after": [],
        "multitask_strategy": "enqueue",
        "end_time": END,
        "enabled": True,
        "timezone": "Europe/Berlin",
        "stream_mode": ["values"],
        "stream_subgraphs": False,
        "stream_resumable": False,
        "durability": "sync",
        "checkpoint_during": None,
    }


async def made(sdk: Driver, suite: str, **options: Any) -> str:
    cron = await sdk("crons.create", "echo", **{"schedule": YEARLY, "metadata": {"suite": suite}, **options})
    name: str = cron["cron_id"]
    return name


@drives("crons.create")
async def create(sdk: Driver) -> None:
    suite = str(uuid.uuid4())
    cron = await sdk("crons.create", "echo", **common(suite), context={"a": 1}, on_run_completed="keep")
    assert (cron["schedule"], cron["timezone"], cron["enabled"]) == (YEARLY, "Europe/Berlin", True)
    await made(sdk, suite, config={"tags": ["t"]})
    assert await sdk("crons.count", metadata={"suite": suite}) == 2


@drives("crons.create_for_thread")
async def create_for_thread(sdk: Driver) -> None:
    thread = (await sdk("threads.create"))["thread_id"]
    suite = str(uuid.uuid4())
    cron = await sdk("crons.create_for_thread", thread, "echo", **common(suite), context={"a": 1})
    assert cron["thread_id"] == thread
    await sdk("crons.create_for_thread", thread, "echo", schedule=YEARLY, config={"tags": ["t"]})
    assert await sdk("crons.count", thread_id=thread) == 2


@drives("crons.update")
async def update(sdk: Driver) -> None:
    name = await made(sdk, "s")
    changed = await sdk(
        "crons.update",
        name,
        schedule="30 6 * * *",
        end_time=END,
        input={"text": "other"},
        metadata={"b": 2},
        config={"tags": ["t"]},
        context={"a": 1},
        webhook="https://hooks.invalid/other",
        interrupt_before=[],
        interrupt_after=[],
        on_run_completed="keep",
        enabled=False,
        timezone="UTC",
        stream_mode=["updates"],
        stream_subgraphs=True,
        stream_resumable=True,
        durability="async",
    )
    assert (changed["schedule"], changed["enabled"], changed["timezone"]) == ("30 6 * * *", False, "UTC")


@drives("crons.delete")
async def delete(sdk: Driver) -> None:
    suite = str(uuid.uuid4())
    await sdk("crons.delete", await made(sdk, suite))
    assert await sdk("crons.count", metadata={"suite": suite}) == 0


@drives("crons.search")
async def search(sdk: Driver) -> None:
    thread = (await sdk("threads.create"))["thread_id"]
    suite = str(uuid.uuid4())
    crons = [
        await sdk("crons.create_for_thread", thread, "echo", schedule=YEARLY, metadata={"suite": suite})
        for _ in range(2)
    ]
    wanted: dict[str, Any] = {"thread_id": thread, "assistant_id": crons[0]["assistant_id"], "enabled": True}
    wanted |= {"metadata": {"suite": suite}, "sort_by": "created_at", "sort_order": "asc"}
    result = await sdk("crons.search", **wanted, select=["cron_id"])
    assert result == [{"cron_id": cron["cron_id"]} for cron in crons]
    assert await sdk("crons.search", **wanted, select=["cron_id"], limit=1, offset=1) == result[1:]


@drives("crons.count")
async def count(sdk: Driver) -> None:
    thread = (await sdk("threads.create"))["thread_id"]
    suite = str(uuid.uuid4())
    cron = await sdk("crons.create_for_thread", thread, "echo", schedule=YEARLY, metadata={"suite": suite})
    wanted = {"assistant_id": cron["assistant_id"], "thread_id": thread, "metadata": {"suite": suite}}
    assert await sdk("crons.count", **wanted) == 1
