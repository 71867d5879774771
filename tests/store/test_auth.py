"""Authorization of the store: handlers see each access, and redirect it by changing its namespace (wire contract §18)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langlog_backbone.project.imports import imported_file

from tests.gateway.conftest import MakeStack, Stack
from tests.stack.releases import current_sdk

from .conftest import INDEX
from .sides import embed_item, embed_query

pytestmark = current_sdk

AUTH = """
import copy

from langgraph_sdk import Auth

auth = Auth()
SEEN = []


@auth.authenticate
async def authenticate(authorization):
    return authorization


@auth.on
async def everything_else(ctx, value):
    return {"owner": ctx.user.identity}


@auth.on.store
async def own(ctx, value):
    SEEN.append((ctx.resource, ctx.action, copy.deepcopy(value)))
    who = ctx.user.identity
    if who == "nobody":
        return False
    if who == "teapot":
        raise Auth.exceptions.HTTPException(status_code=418, detail="short and stout")
    if who == "filters":
        return {"owner": who}
    value["namespace"] = (who, *(value.get("namespace") or ()))
    return True


@auth.on.store.put
async def put(ctx, value):
    if await own(ctx, value) is not True:
        raise Auth.exceptions.HTTPException(status_code=403, detail="no")
    value["value"]["by"] = ctx.user.identity
"""
PUT: dict[str, Any] = {"namespace": ["notes"], "key": "k", "value": {"text": "a"}}
CALLS: dict[str, tuple[str, str, Any]] = {
    "put": ("PUT", "/store/items", {**PUT, "index": ["text"], "ttl": 5}),
    "get": ("GET", "/store/items?namespace=notes&key=k&refresh_ttl=false", None),
    "search": ("POST", "/store/items/search", {"namespace_prefix": ["notes"], "query": "a", "filter": {"text": "a"}}),
    "list_namespaces": ("POST", "/store/namespaces", {"prefix": ["notes"], "max_depth": 2}),
    "delete": ("DELETE", "/store/items", {"namespace": ["notes"], "key": "k"}),
}
VALUES: dict[str, dict[str, Any]] = {
    "put": {"namespace": ("notes",), "key": "k", "value": {"text": "a"}, "index": ["text"], "ttl": 5.0},
    "get": {"namespace": ("notes",), "key": "k", "refresh_ttl": False},
    "search": {
        "namespace": ("notes",),
        "filter": {"text": "a"},
        "query": "a",
        "limit": 10,
        "offset": 0,
        "refresh_ttl": None,
    },
    "list_namespaces": {"namespace": ("notes",), "suffix": None, "max_depth": 2, "limit": 100, "offset": 0},
    "delete": {"namespace": ("notes",), "key": "k"},
}


@pytest.fixture
async def stack(make_stack: MakeStack, tmp_path: Path) -> AsyncIterator[Stack]:
    (tmp_path / "auth.py").write_text(AUTH)
    config = {"graphs": {"echo": "./echo.py:graph"}, "auth": {"path": "./auth.py:auth"}, "store": {"index": INDEX}}
    (tmp_path / "langgraph.json").write_text(json.dumps(config))
    async with make_stack(project=tmp_path / "langgraph.json", reply_timeout_s=60.0) as made:
        made.answers = {"embed_item": embed_item, "embed_query": embed_query}
        yield made


async def call(stack: Stack, who: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    return await stack.call(method, path, body, headers={"authorization": who})


def seen(auth: Path) -> list[Any]:
    """Return the calls of this file's handlers since the last time."""
    module = imported_file(auth)
    assert module is not None
    result, module.SEEN = module.SEEN, []  # type: ignore[attr-defined]
    return result  # type: ignore[no-any-return]


async def test_each_access_is_put_to_its_handler_with_what_the_contract_names(stack: Stack, tmp_path: Path) -> None:
    for action, (method, path, body) in CALLS.items():
        status, body_seen = await call(stack, "alice", method, path, body)
        assert status in (200, 204), (action, body_seen)
        [(resource, asked, value)] = seen(tmp_path / "auth.py")
        assert (resource, asked, value) == ("store", action, VALUES[action])


async def test_a_changed_namespace_is_where_the_access_goes(stack: Stack) -> None:
    for who in ("alice", "bob@there.org"):
        assert (await call(stack, who, "PUT", "/store/items", PUT))[0] == 204
    assert (await call(stack, "bob@there.org", "DELETE", "/store/items", {"namespace": ["notes"], "key": "k"}))[
        0
    ] == 204
    _, item = await call(stack, "alice", "GET", "/store/items?namespace=notes&key=k")
    assert (item["namespace"], item["value"]) == (["alice", "notes"], {"text": "a", "by": "alice"})
    assert (await call(stack, "bob@there.org", "GET", "/store/items?namespace=notes&key=k")) == (200, None)
    for body in ({"namespace_prefix": []}, {"namespace_prefix": ["notes"], "query": "a"}):
        assert (await call(stack, "bob@there.org", "POST", "/store/items/search", body))[1] == {"items": []}
        assert len((await call(stack, "alice", "POST", "/store/items/search", body))[1]["items"]) == 1
    for body in ({}, {"prefix": ["*"]}, {"suffix": ["notes"]}):
        assert (await call(stack, "bob@there.org", "POST", "/store/namespaces", body))[1] == {"namespaces": []}
        assert (await call(stack, "alice", "POST", "/store/namespaces", body))[1] == {
            "namespaces": [["alice", "notes"]]
        }


@pytest.mark.parametrize(
    ("who", "status", "detail"), [("nobody", 403, "Forbidden"), ("teapot", 418, "short and stout")]
)
async def test_who_is_refused_gets_nothing_done(stack: Stack, who: str, status: int, detail: str) -> None:
    for action, (method, path, body) in CALLS.items():
        if action != "put" or who == "teapot":
            assert await call(stack, who, method, path, body) == (status, {"detail": detail})
    assert (await call(stack, "nobody", "PUT", "/store/items", PUT))[0] == 403
    assert await stack.backbone.pool.fetchval("SELECT count(*) FROM store_items") == 0


async def test_a_namespace_of_a_handlers_own_that_no_index_holds_is_refused(stack: Stack) -> None:
    body = {**PUT, "namespace": ["n" * 900]}  # fits, without the user's name that the handler puts before it
    status, _ = await call(stack, "x" * 900, "PUT", "/store/items", body)
    assert status == 422


async def test_a_filter_of_a_handler_has_no_effect_on_items(stack: Stack) -> None:
    body = {"namespace_prefix": [], "limit": 1}
    assert await call(stack, "filters", "POST", "/store/items/search", body) == (200, {"items": []})


async def test_refusals_come_before_anything_is_embedded(stack: Stack) -> None:
    asked: list[Any] = []

    def never(question: Any) -> Any:
        asked.append(question)
        return embed_item(question)

    stack.answers = {"embed_item": never, "embed_query": never}
    await call(stack, "nobody", *CALLS["search"])
    await call(stack, "nobody", *CALLS["put"])
    assert not asked
