"""Effects of each option of ``client.crons`` and ``client.store``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.sdk.changes_runs import other, unknown
from tests.sdk.options import Change, Options, Scene, Way, the_answer

YEARLY = "0 0 1 1 *"
HOOK = "https://hooks.invalid/langlog"
END = datetime(2999, 1, 1, tzinfo=UTC)


# --- crons -----------------------------------------------------------------------------------------


async def to_make(scene: Scene) -> None:
    scene.args = {"assistant_id": "echo", "schedule": YEARLY}


async def to_make_on_a_thread(scene: Scene) -> None:
    await to_make(scene)
    scene.about["thread"] = scene.name("thread", (await scene.client.threads.create())["thread_id"])
    scene.args["thread_id"] = scene.thread


async def made(scene: Scene) -> None:
    cron: Any = await scene.client.crons.create("echo", schedule=YEARLY, metadata={"suite": scene.suite})
    scene.about["cron"] = scene.name("cron", cron["cron_id"])
    scene.args = {"cron_id": scene.cron, "metadata": {"z": 1}}


async def to_delete(scene: Scene) -> None:
    await made(scene)
    del scene.args["metadata"]


async def several(scene: Scene) -> None:
    """Create crons: one on a thread, one of another graph, one that is disabled."""
    thread = scene.about["thread"] = scene.name("thread", (await scene.client.threads.create())["thread_id"])
    client, suite = scene.client, scene.suite
    await client.crons.create_for_thread(thread, "echo", schedule=YEARLY, metadata={"suite": suite, "n": 0})
    cron: Any = await client.crons.create("counter", schedule="0 0 1 2 *", metadata={"suite": suite, "n": 1})
    await client.crons.create("echo", schedule="0 0 1 3 *", metadata={"suite": suite, "n": 2}, enabled=False)
    scene.about["counter"] = cron["assistant_id"]
    scene.args = {"metadata": {"suite": suite}}


CRON = {
    "schedule": Change("schedule", "0 0 1 2 *", YEARLY),
    "input": Change("payload.input", {"text": "tick"}),
    "metadata": Change("metadata.k", {"k": 1}),
    "config": Change("payload.config.tags", {"tags": ["t"]}),
    "context": Change("payload.context", {"a": 1}),
    "interrupt_before": Change("payload.interrupt_before", ["echo"]),
    "interrupt_after": Change("payload.interrupt_after", ["echo"]),
    "webhook": Change("payload.webhook", HOOK),
    "end_time": Change("end_time", END),
    "enabled": Change("enabled", False),
    "timezone": Change("timezone", "Europe/Berlin"),
    "stream_mode": Change("payload.stream_mode", ["updates"]),
    "stream_subgraphs": Change("payload.stream_subgraphs", True),
    "stream_resumable": Change("payload.stream_resumable", True),
    "durability": Change("payload.durability", "sync"),
}
MADE = {
    **CRON,
    "assistant_id": Change("error", lambda s: unknown(s), "echo"),
    "checkpoint_during": Change("payload.checkpoint_during", False),
    "multitask_strategy": Change("payload.multitask_strategy", "reject"),
}


# --- the store ---------------------------------------------------------------------------------------


async def filled(scene: Scene) -> None:
    scene.about["place"] = ["changes", scene.suite]
    for n, text in enumerate(("aaa", "bbb", "abab")):
        value = {"n": n, "text": text, "even": n % 2 == 0}
        await scene.client.store.put_item([*scene.place, "below", f"leaf{n}"], key=f"k{n}", value=value)
    scene.args = {"namespace_prefix": scene.place}


async def item(scene: Scene) -> None:
    scene.about["place"] = ["changes", scene.suite]
    await scene.client.store.put_item(scene.place, key="k", value={"n": 1})
    scene.args = {"namespace": scene.place, "key": "k"}


async def to_put(scene: Scene) -> None:
    scene.about["place"] = ["changes", scene.suite]
    scene.args = {"namespace": scene.place, "key": "k", "value": {"text": "aaa"}}


async def to_list(scene: Scene) -> None:
    await filled(scene)
    scene.args = {"prefix": scene.place}


async def stored(scene: Scene, given: Options, answer: Any) -> Any:
    """Return the items of the store: by key, by meaning, and their time to live."""
    store = scene.client.store
    items = (await store.search_items(["changes", scene.suite], query="aaa"))["items"]
    return {
        "items": [{name: one[name] for name in ("namespace", "key", "value")} for one in items],
        "scores": [one["score"] is not None for one in items],
        "there": await store.get_item(scene.place, "k") is not None,
    }


async def keys(scene: Scene, given: Options, answer: Any) -> Any:
    return [one["key"] for one in answer["items"]]


async def listed(scene: Scene, given: Options, answer: Any) -> Any:
    return [["changes" if step == "changes" else step for step in namespace] for namespace in answer["namespaces"]]


REST: dict[str, Way] = {
    "crons.create": Way(to_make, the_answer, {**MADE, "on_run_completed": Change("on_run_completed", "keep")}),
    "crons.create_for_thread": Way(to_make_on_a_thread, the_answer, {**MADE, "thread_id": other("thread")}),
    "crons.update": Way(
        made,
        the_answer,
        {
            **CRON,
            "cron_id": other("cron"),
            "on_run_completed": Change("on_run_completed", "keep", "delete"),
        },
    ),
    "crons.delete": Way(to_delete, the_answer, {"cron_id": other("cron")}),
    "crons.search": Way(
        several,
        the_answer,
        {
            "assistant_id": Change("length", lambda s: s.counter),
            "thread_id": Change("length", lambda s: s.thread),
            "enabled": Change("length", False),
            "metadata": Change("length", lambda s: {"suite": s.suite, "n": 1}, lambda s: {"suite": s.suite}),
            "limit": Change("length", 1),
            "offset": Change("length", 1),
            "sort_by": Change("*.metadata.n", "assistant_id"),
            "sort_order": Change("*.metadata.n", "asc"),
            "select": Change("*.payload", ["cron_id"]),
        },
    ),
    "crons.count": Way(
        several,
        the_answer,
        {
            "assistant_id": Change("answer", lambda s: s.counter),
            "thread_id": Change("answer", lambda s: s.thread),
            "metadata": Change("answer", lambda s: {"suite": s.suite, "n": 1}, lambda s: {"suite": s.suite}),
        },
    ),
    "store.put_item": Way(
        to_put,
        stored,
        {
            "namespace": Change("items.*.namespace", lambda s: [*s.place, "deeper"], lambda s: s.place),
            "key": Change("items.*.key", "other", "k"),
            "value": Change("items.*.value.text", {"text": "bbb"}, {"text": "aaa"}),
            "index": Change("scores", False),
            "ttl": Change("there", 0.00001),
        },
    ),
    "store.get_item": Way(
        item,
        the_answer,
        {
            "namespace": Change("value", lambda s: [*s.place, "deeper"], lambda s: s.place),
            "key": Change("value", "other", "k"),
        },
    ),
    "store.delete_item": Way(
        item,
        stored,
        {
            "namespace": Change("there", lambda s: [*s.place, "deeper"], lambda s: s.place),
            "key": Change("there", "other", "k"),
        },
    ),
    "store.search_items": Way(
        filled,
        keys,
        {
            "namespace_prefix": Change("length", lambda s: [*s.place, "below", "leaf1"], lambda s: s.place),
            "filter": Change("length", {"even": True}),
            "limit": Change("length", 1),
            "offset": Change("length", 1),
            "query": Change("*", "bbb", "aaa"),
        },
    ),
    "store.list_namespaces": Way(
        to_list,
        listed,
        {
            "prefix": Change("length", lambda s: [*s.place, "below", "leaf1"], lambda s: s.place),
            "suffix": Change("length", ["leaf1"]),
            "max_depth": Change("length", 2),
            "limit": Change("length", 1),
            "offset": Change("length", 1),
        },
    ),
}
