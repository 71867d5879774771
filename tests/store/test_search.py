"""Searching by meaning: the same from nodes and over HTTP (wire contract §11)."""

from __future__ import annotations

from typing import Any

import pytest

from .sides import Side


def keys(results: list[Any]) -> str:
    return "".join(item.key for item in results)


async def test_the_nearest_come_first_with_their_cosine_and_those_without_vectors_last(side: Side) -> None:
    await side.put(["n"], "x", {"text": "abc"})
    await side.put(["n"], "y", {"text": "aab"})
    await side.put(["n"], "z", {"text": "c"})
    await side.put(["n"], "later", {"other": "a"})
    await side.put(["n"], "off", {"text": "a"}, index=False)
    results = await side.search(["n"], query="aa")
    assert keys(results[:3]) == "yxz"
    assert [item.score for item in results[:3]] == [pytest.approx(0.894427), pytest.approx(0.577350), pytest.approx(0)]
    assert [(item.key, item.score) for item in results[3:]] == [("later", None), ("off", None)]
    assert [item.score for item in await side.search(["n"])] == [None] * 5
    assert [item.score for item in await side.search(["n"], query="")] == [None] * 5


async def test_pages_go_on_from_items_with_vectors_to_those_without(side: Side) -> None:
    for n, key in enumerate("abcd"):
        await side.put(["n"], key, {"text": "a" + "b" * n})
    for key in "efg":
        await side.put(["n"], key, {})
    everything = keys(await side.search(["n"], query="a", limit=10))
    assert everything == "abcdefg"
    for limit in (1, 2, 3, 5):
        pages = [keys(await side.search(["n"], query="a", limit=limit, offset=o)) for o in range(0, 9, limit)]
        assert "".join(pages) == everything
    for options in ({"limit": 0}, {"offset": 2**70}, {"offset": 2**70, "filter": {"text": "a"}}):
        assert await side.search(["n"], query="a", **options) == []


async def test_filters_and_prefixes_hold_for_searches_by_meaning(side: Side) -> None:
    for user in ("u1", "u2"):
        for n in range(6):
            await side.put(
                ["m", user], f"{user}{n}", {"text": "a" * (n + 1) + "b", "n": n, "deep": {"even": n % 2 == 0}}
            )
    assert [f.key for f in await side.search(["m", "u1"], query="a", limit=2)] == ["u15", "u14"]
    results = await side.search(["m"], query="a", filter={"n": {"$gte": 1, "$lt": 4}, "deep": {"even": True}})
    assert [f.key for f in results] == ["u12", "u22"]
    assert await side.search(["m"], query="a", filter={"n": 99}) == []
    assert await side.search(["m", "u3"], query="a") == []
    assert [f.key for f in await side.search(["m"], query="a", filter={"n": 5}, limit=1, offset=1)] == ["u25"]


async def test_an_item_counts_once_by_the_nearest_of_its_texts(side: Side) -> None:
    await side.put(["n"], "many", {"text": "c", "tags": ["bbb", "ab", "a"]})
    await side.put(["n"], "some", {"text": "ab", "tags": ["cc"]})
    await side.put(["n"], "same", {"text": "b", "tags": ["b", "b"]})
    for wanted in (None, {"tags": {"$ne": 1}}):
        results = await side.search(["n"], query="a", filter=wanted)
        assert [(f.key, f.score and round(f.score, 3)) for f in results] == [("many", 1), ("some", 0.707), ("same", 0)]
        assert [f.key for f in await side.search(["n"], query="a", filter=wanted, limit=1, offset=1)] == ["some"]


async def test_overwriting_replaces_the_vectors_and_deleting_removes_them(side: Side) -> None:
    await side.put(["n"], "k", {"text": "a", "tags": ["b", "c"]})
    await side.put(["n"], "k", {"text": "b"})
    await side.put(["n"], "other", {"text": "cb"})
    assert [(f.key, round(f.score or 0, 3)) for f in await side.search(["n"], query="a")] == [("k", 0), ("other", 0)]
    pool = side.backbone.pool
    assert await pool.fetchval("SELECT count(*) FROM store_vectors") == 2
    await side.put(["n"], "k", {"text": "b"}, index=False)
    await side.delete(["n"], "other")
    assert await pool.fetchval("SELECT count(*) FROM store_vectors") == 0
    assert [tuple(f) for f in await side.search(["n"], query="b")] == [("k", None)]


async def test_an_item_may_name_its_own_paths(side: Side) -> None:
    await side.put(["n"], "k", {"text": "c", "note": {"de": "a"}}, index=["note.de"])
    [results] = await side.search(["n"], query="a")
    assert results.score == pytest.approx(1)


async def test_what_has_no_direction_is_near_to_nothing(side: Side) -> None:
    await side.put(["n"], "zero", {"text": "x"})
    await side.put(["n"], "a", {"text": "a"})
    assert [tuple(f) for f in await side.search(["n"], query="a")] == [("a", pytest.approx(1)), ("zero", 0)]
    assert [f.score for f in await side.search(["n"], query="x")] == [0, 0]


async def test_equal_texts_stand_in_the_order_of_their_keys(side: Side) -> None:
    for n in range(30):
        await side.put(["n"], f"{29 - n:02}", {"text": "ab" * (1 + n % 7)})
    collected = [f.key for o in range(0, 30, 7) for f in await side.search(["n"], query="abc", limit=7, offset=o)]
    assert collected == [f"{n:02}" for n in range(30)]


async def test_vectors_of_another_length_are_not_compared_with(side: Side) -> None:
    await side.put(["n"], "old", {"text": "a"})
    await side.put(["n"], "new", {"text": "b"})
    await side.backbone.pool.execute("UPDATE store_vectors SET embedding = '[1,2]' WHERE key = 'old'")
    assert [(f.key, f.score) for f in await side.search(["n"], query="b")] == [("new", pytest.approx(1)), ("old", None)]


async def test_an_item_past_its_time_is_not_found(side: Side) -> None:
    await side.put(["n"], "gone", {"text": "a"}, ttl=0.0000001)
    await side.put(["n"], "there", {"text": "ab"}, ttl=5)
    for options in ({}, {"query": "a"}, {"query": "a", "filter": {"text": {"$gte": ""}}}):
        assert [f.key for f in await side.search(["n"], **options)] == ["there"]


async def test_labels_with_signs_that_patterns_use_are_labels(side: Side) -> None:
    for namespace in (["a_c"], ["abc"], ["a%"], ["a%", "x"], ["*", "x"]):
        await side.put(namespace, "/".join(namespace), {"text": "a"})
    for prefix, entry in ((["a_c"], ["a_c"]), (["a%"], ["a%", "a%/x"]), (["*"], ["*/x"])):
        assert [f.key for f in await side.search(prefix, query="a")] == entry
        assert [f.key for f in await side.search(prefix)] == entry
    assert await side.namespaces(prefix=["*", "x"]) == [["*", "x"], ["a%", "x"]]
    assert await side.namespaces(prefix=["a_c"]) == [["a_c"]]
    assert await side.namespaces(suffix=["*"], max_depth=1) == [["*"], ["a%"], ["a_c"], ["abc"]]
