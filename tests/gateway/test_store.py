"""The store over HTTP, through the log and back (wire contract §11)."""

from __future__ import annotations

from typing import Any

import msgspec

from .conftest import Stack


async def put(stack: Stack, namespace: list[str], key: str, value: Any) -> None:
    body = {"namespace": namespace, "key": key, "value": value}
    assert await stack.call("PUT", "/store/items", body) == (204, "")


async def keys(stack: Stack, **body: Any) -> list[str]:
    status, body_seen = await stack.call("POST", "/store/items/search", body)
    assert status == 200, body_seen
    return [item["key"] for item in body_seen["items"]]


async def test_an_item_is_read_back_and_keeps_its_creation(stack: Stack) -> None:
    await put(stack, ["a", "b"], "k", {"n": 1})
    _, first = await stack.call("GET", "/store/items?namespace=a.b&key=k")
    assert (first["namespace"], first["key"], first["value"]) == (["a", "b"], "k", {"n": 1})
    await put(stack, ["a", "b"], "k", {"n": 2})
    _, second = await stack.call("GET", "/store/items?namespace=a.b&key=k")
    assert (second["value"], second["created_at"]) == ({"n": 2}, first["created_at"])
    assert second["updated_at"] > first["updated_at"]
    for _ in range(2):
        assert (await stack.call("DELETE", "/store/items", {"namespace": ["a", "b"], "key": "k"}))[0] == 204
    assert await stack.call("GET", "/store/items?namespace=a.b&key=k") == (200, None)


async def test_prefixes_match_whole_labels(stack: Stack) -> None:
    for namespace in (["a"], ["a", "b"], ["ab"], ["a", "b", "c"], ["a\x01"], ["b"]):
        await put(stack, namespace, "/".join(namespace), {})
    assert await keys(stack, namespace_prefix=["a"]) == ["a", "a/b", "a/b/c"]
    assert await keys(stack, namespace_prefix=["a", "b"]) == ["a/b", "a/b/c"]
    assert len(await keys(stack)) == 6
    assert await keys(stack, namespace_prefix=["a"], limit=1, offset=1) == ["a/b"]
    assert await keys(stack, namespace_prefix=["a"], limit=-1) == []


async def test_filters_compare_values(stack: Stack) -> None:
    for n, value in enumerate(({"n": 1, "s": "x"}, {"n": 2.5, "s": "y"}, {"s": "z", "in": {"a": 1}}, {"n": "9"})):
        await put(stack, ["f"], str(n), value)
    for wanted, entry in (
        ({"n": 1}, "0"),
        ({"n": {"$gt": 1}}, "1"),
        ({"n": {"$gte": 1, "$lt": 2.5}}, "0"),
        ({"n": {"$ne": 1}}, "123"),
        ({"s": {"$lte": "y"}}, "01"),
        ({"in": {"a": 1}}, "2"),
        ({"n": None}, "2"),
        ({"n": {"$eq": "9"}}, "3"),
    ):
        assert "".join(await keys(stack, namespace_prefix=["f"], filter=wanted)) == entry, wanted
    body = {"namespace_prefix": ["f"], "filter": {"n": {"$zz": 1}}}
    assert await stack.call("POST", "/store/items/search", body) == (400, {"detail": "Unsupported operator: $zz"})


async def test_namespaces_are_listed_by_pattern_and_depth(stack: Stack) -> None:
    for namespace in (["u", "1", "mem"], ["u", "2", "mem"], ["u", "2", "log"], ["v"]):
        await put(stack, namespace, "k", {})

    async def listed(**body: Any) -> list[list[str]]:
        _, body_seen = await stack.call("POST", "/store/namespaces", body)
        return body_seen["namespaces"]  # type: ignore[no-any-return]

    assert await listed() == [["u", "1", "mem"], ["u", "2", "log"], ["u", "2", "mem"], ["v"]]
    assert await listed(prefix=["u", "*", "mem"]) == [["u", "1", "mem"], ["u", "2", "mem"]]
    assert await listed(suffix=["2", "*"]) == [["u", "2", "log"], ["u", "2", "mem"]]
    assert await listed(max_depth=1) == [["u"], ["v"]]
    assert await listed(limit=1, offset=2) == [["u", "2", "mem"]]


async def test_what_has_no_place_in_the_store_is_refused(stack: Stack) -> None:
    for namespace, key, status in (
        ([], "k", 400),
        (["langgraph"], "k", 400),
        (["a.b"], "k", 422),
        (["a", ""], "k", 422),
        (["a"], "x" * 5000, 422),
        (["x" * 5000], "k", 422),
        (["a"] * 300, "k", 422),
        (["a"], "", 204),
    ):
        body = {"namespace": namespace, "key": key, "value": {}}
        assert (await stack.call("PUT", "/store/items", body))[0] == status, body
    assert await stack.call("GET", "/store/items?namespace=a") == (400, {"error": "Key is required"})
    async with stack.http.get(f"{stack.url}/store/items?key=k") as answer:
        assert (answer.status, answer.content_type) == (422, "text/plain")
    assert (await stack.call("GET", "/store/items?namespace=a&key=%00"))[0] == 422
    huge = msgspec.json.encode({"namespace_prefix": [], "offset": 10**30})
    async with stack.http.post(f"{stack.url}/store/items/search", data=huge) as answer:
        assert await answer.json() == {"items": []}


async def test_filters_and_namespaces_are_bounded(stack: Stack) -> None:
    many = {f"m{n}": n for n in range(40_000)}
    for path, body in (
        ("/store/items/search", {"namespace_prefix": [], "filter": many}),
        ("/store/items/search", {"namespace_prefix": [], "filter": {"a": {"b": many}}}),
        ("/store/items/search", {"namespace_prefix": ["a"] * 40_000}),
        ("/store/namespaces", {"prefix": ["a"] * 40_000}),
        ("/store/namespaces", {"suffix": ["a"] * 40_000}),
    ):
        status, received = await stack.call("POST", path, body)
        assert status == 422, (path, received)
    assert (await stack.call("POST", "/store/items/search", {"namespace_prefix": [], "filter": {"a": 1}}))[0] == 200


async def test_a_search_says_when_items_expire_if_it_is_asked_to(stack: Stack) -> None:
    for key, ttl in (("stays", None), ("goes", 60)):
        body = {"namespace": ["n"], "key": key, "value": {}, "ttl": ttl}
        assert (await stack.call("PUT", "/store/items", body))[0] == 204
    _, found = await stack.call("POST", "/store/items/search", {"namespace_prefix": ["n"], "include": ["ttl"]})
    stays, goes = found["items"]
    assert stays["expires_at"] is None
    assert goes["expires_at"] > goes["updated_at"]
    _, found = await stack.call("POST", "/store/items/search", {"namespace_prefix": ["n"]})
    assert all("expires_at" not in item for item in found["items"])
    assert (await stack.call("POST", "/store/items/search", {"include": ["no"]}))[0] == 422
