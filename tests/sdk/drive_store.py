"""Every method of ``client.store``."""

from __future__ import annotations

import uuid

from tests.sdk.driver import Driver, drives


@drives("store.put_item")
async def put_item(sdk: Driver) -> None:
    place = ["sdk", str(uuid.uuid4())]
    await sdk("store.put_item", place, key="k", value={"n": 1}, index=False, ttl=60)
    item = await sdk("store.get_item", place, "k")
    assert (item["namespace"], item["key"], item["value"]) == (place, "k", {"n": 1})


@drives("store.get_item")
async def get_item(sdk: Driver) -> None:
    place = ["sdk", str(uuid.uuid4())]
    assert await sdk("store.get_item", place, "k") is None
    await sdk("store.put_item", place, key="k", value={"n": 1})
    assert (await sdk("store.get_item", place, "k", refresh_ttl=True))["value"] == {"n": 1}


@drives("store.delete_item")
async def delete_item(sdk: Driver) -> None:
    place = ["sdk", str(uuid.uuid4())]
    await sdk("store.put_item", place, key="k", value={})
    await sdk("store.delete_item", place, "k")
    assert await sdk("store.get_item", place, "k") is None


@drives("store.search_items")
async def search_items(sdk: Driver) -> None:
    place = ["sdk", str(uuid.uuid4())]
    for n in range(3):
        await sdk("store.put_item", [*place, "below"], key=f"k{n}", value={"n": n, "even": n % 2 == 0})
    items = await sdk("store.search_items", place, filter={"even": True}, limit=5, offset=0, query="k")
    assert {item["key"] for item in items["items"]} == {"k0", "k2"}
    assert len((await sdk("store.search_items", place, limit=2, refresh_ttl=False))["items"]) == 2


@drives("store.list_namespaces")
async def list_namespaces(sdk: Driver) -> None:
    root = str(uuid.uuid4())
    for leaf in ("a", "b"):
        await sdk("store.put_item", [root, leaf, "deep"], key="k", value={})
    result = await sdk("store.list_namespaces", prefix=[root], suffix=["deep"], limit=10, offset=0)
    assert result["namespaces"] == [[root, "a", "deep"], [root, "b", "deep"]]
    assert (await sdk("store.list_namespaces", prefix=[root], max_depth=1))["namespaces"] == [[root]]
