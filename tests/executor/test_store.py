"""The store of graph nodes: what is put is there, for nodes and for everyone else, once the put has returned."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, MatchCondition, PutOp, SearchOp
from langlog_backbone.context import Backbone
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.store.log_store import LogStore

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])


@pytest.fixture
async def store(io: IoLoop) -> LogStore:
    return LogStore(io)


async def keys(store: LogStore, prefix: tuple[str, ...] = ("n",), **options: Any) -> list[str]:
    return [item.key for item in await store.asearch(prefix, **options)]


async def test_an_item_that_was_put_can_be_read_at_once(store: LogStore) -> None:
    await store.aput(("users", "u1"), "likes", {"food": ["tea"], "n": 1.5})
    item = await store.aget(("users", "u1"), "likes")
    assert item is not None
    assert (item.namespace, item.key, item.value) == (("users", "u1"), "likes", {"food": ["tea"], "n": 1.5})
    assert item.created_at == item.updated_at
    assert await store.aget(("users", "u2"), "likes") is None


async def test_overwriting_keeps_the_time_of_creation(store: LogStore) -> None:
    await store.aput(("n",), "k", {"v": 1})
    first = await store.aget(("n",), "k")
    await store.aput(("n",), "k", {"v": 2})
    second = await store.aget(("n",), "k")
    assert first is not None and second is not None
    assert second.value == {"v": 2}
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at


async def test_a_deleted_item_is_gone_and_deleting_it_again_is_no_error(store: LogStore) -> None:
    await store.aput(("n",), "k", {"v": 1})
    await store.adelete(("n",), "k")
    assert await store.aget(("n",), "k") is None
    await store.adelete(("n",), "k")


async def test_of_several_writes_in_one_batch_the_last_one_counts_and_reads_see_what_was_before(
    store: LogStore,
) -> None:
    results = await store.abatch(
        [
            PutOp(("n",), "k", {"v": 1}),
            PutOp(("m",), "k", {"v": 3}),
            GetOp(("n",), "k"),
            PutOp(("n",), "k", {"v": 2}),
            SearchOp(()),
        ]
    )
    assert results == [None, None, None, None, []]
    item = await store.aget(("n",), "k")
    assert item is not None and item.value == {"v": 2}


async def test_sync_methods_work_from_a_thread_and_refuse_to_block_the_io_loop(store: LogStore) -> None:
    await asyncio.to_thread(store.put, ("n",), "k", {"v": 1})
    item = await asyncio.to_thread(store.get, ("n",), "k")
    assert item is not None and item.value == {"v": 1}
    with pytest.raises(RuntimeError, match="block the I/O loop"):
        store.get(("n",), "k")


async def test_a_prefix_matches_whole_labels(store: LogStore) -> None:
    for namespace in (("a",), ("a", "b"), ("ab",), ("a_", "b"), ("b", "a"), ("a", "b", "c")):
        await store.aput(namespace, ".".join(namespace), {})
    assert sorted(await keys(store, ("a",))) == ["a", "a.b", "a.b.c"]
    assert sorted(await keys(store, ("a", "b"))) == ["a.b", "a.b.c"]
    assert await keys(store, ("a_",)) == ["a_.b"]
    assert await keys(store, ("a%",)) == []
    assert len(await keys(store, ())) == 6


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"x": 1}, "a"),
        ({"x": "1"}, ""),
        ({"x": {"$eq": 2}}, "b"),
        ({"x": {"$ne": 1}}, "bcde"),
        ({"x": {"$gt": 1}}, "bc"),
        ({"x": {"$gte": 1, "$lt": 10}}, "ab"),
        ({"x": {"$lte": 1}}, "a"),
        ({"s": {"$gt": "m"}}, "e"),
        ({"d": {"e": 1}}, "d"),
        ({"d": {"e": {"$gte": 1}}}, "d"),
        ({"d": {"e": 1}, "x": 1}, ""),
        ({"l": [1, 2]}, "d"),
        ({"l": [1]}, ""),
        ({"missing": None}, "abcde"),  # absent is null, as over HTTP and in langgraph's own store
        ({"n": None}, "abcde"),
    ],
)
async def test_filters_compare_values(store: LogStore, filter: dict[str, Any], expected: str) -> None:
    values: dict[str, dict[str, Any]] = {
        "a": {"x": 1},
        "b": {"x": 2},
        "c": {"x": 10},
        "d": {"d": {"e": 1, "f": 2}, "l": [1, 2], "s": "k"},
        "e": {"s": "z", "n": None},
    }
    await store.abatch([PutOp(("n",), key, value) for key, value in values.items()])
    assert "".join(sorted(await keys(store, filter=filter))) == expected


async def test_an_unknown_operator_is_an_error(store: LogStore) -> None:
    with pytest.raises(ValueError, match=r"Unsupported operator: \$zz"):
        await store.asearch(("n",), filter={"x": {"$zz": 1}})


async def test_items_are_listed_in_the_order_they_were_first_put_and_paged(store: LogStore) -> None:
    for key in "cab":
        await store.aput(("n",), key, {})
    await store.aput(("n",), "c", {"again": True})
    assert await keys(store) == ["c", "a", "b"]
    assert await keys(store, limit=1, offset=1) == ["a"]
    assert [item.score for item in await store.asearch(("n",), query="anything")] == [None] * 3


async def test_namespaces_are_matched_truncated_and_paged(store: LogStore) -> None:
    for namespace in (("a", "b", "c"), ("a", "x", "c"), ("a", "b"), ("z", "c"), ("c",), ("a_b",)):
        await store.aput(namespace, "k", {})
    assert await store.alist_namespaces() == [
        ("a", "b"),
        ("a", "b", "c"),
        ("a", "x", "c"),
        ("a_b",),
        ("c",),
        ("z", "c"),
    ]
    assert await store.alist_namespaces(prefix=("a",)) == [("a", "b"), ("a", "b", "c"), ("a", "x", "c")]
    assert await store.alist_namespaces(prefix=("a", "*", "c")) == [("a", "b", "c"), ("a", "x", "c")]
    assert await store.alist_namespaces(suffix=("c",)) == [("a", "b", "c"), ("a", "x", "c"), ("c",), ("z", "c")]
    assert await store.alist_namespaces(suffix=("b", "*")) == [("a", "b", "c")]
    assert await store.alist_namespaces(prefix=("a",), suffix=("c",), max_depth=2) == [("a", "b"), ("a", "x")]
    assert await store.alist_namespaces(max_depth=1) == [("a",), ("a_b",), ("c",), ("z",)]
    assert await store.alist_namespaces(limit=2, offset=1) == [("a", "b", "c"), ("a", "x", "c")]
    assert MatchCondition("prefix", ("a",)).match_type == "prefix"


async def test_an_item_past_its_time_is_not_there(store: LogStore, backbone: Backbone) -> None:
    await store.aput(("n",), "stays", {}, ttl=10)
    await store.aput(("n",), "goes", {}, ttl=0.000001)
    assert await keys(store) == ["stays"]
    assert await store.aget(("n",), "goes") is None
    assert await store.alist_namespaces() == [("n",)]


async def test_bad_namespaces_keys_and_values_are_refused_before_anything_is_written(store: LogStore) -> None:
    for namespace in ((), ("a.b",), ("",), ("langgraph",)):
        with pytest.raises((InvalidNamespaceError, ValueError)):
            await store.aput(namespace, "k", {})
    for namespace, key, value in ((("n",), "k", {"v": "a\0b"}), (("n\0",), "k", {}), (("n",), "k\0", {})):
        with pytest.raises(ValueError, match="NUL"):
            await store.aput(namespace, key, value)
    for namespace, key in ((("n",), "k" * 5_000), (("n" * 5_000,), "k"), (("n",) * 300, "k")):
        with pytest.raises(ValueError, match="too long"):
            await store.aput(namespace, key, {})
    with pytest.raises(ValueError, match="NUL"):
        await store.asearch(("n",), filter={"v": "a\0b"})
    assert await store.alist_namespaces() == []


async def test_many_writers_at_once_all_get_their_items(store: LogStore) -> None:
    await asyncio.gather(*(store.aput(("n", str(n % 7)), str(n), {"n": n}) for n in range(100)))
    items = await store.asearch(("n",), limit=200)
    assert sorted(item.value["n"] for item in items) == list(range(100))
