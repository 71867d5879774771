"""Forms of the project's handlers that its author may expect to work: an ``assert`` that refuses, headers read as text."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langlog_gateway.auth.custom_auth import user_of
from langlog_gateway.auth.request_headers import RequestHeaders
from langlog_gateway.http.errors import JsonError

from tests.gateway.conftest import MakeStack, Stack

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
PATHS = (("GET", f"/threads/{uuid.uuid4()}", None), ("POST", "/threads", {}), ("POST", "/threads/search", {}))


@pytest.fixture
async def stack(make_stack: MakeStack) -> AsyncIterator[Stack]:
    async with make_stack(project=PROJECT) as made:
        yield made


@pytest.mark.parametrize(
    ("ticket", "status", "detail"),
    [
        ("a beer mat", 401, "a beer mat is no ticket"),
        ("of nobody", 401, "Unauthorized"),
        ("of a guest", 403, "not for guests"),
        ("of a stranger", 403, "Forbidden"),
    ],
)
async def test_an_assert_refuses_with_its_text(stack: Stack, ticket: str, status: int, detail: str) -> None:
    """LangGraph's documentation: an HTTPException or an AssertionError of a handler refuses."""
    for method, path, body in PATHS:
        assert await refusal(stack, method, path, body, ticket) == (status, {"detail": detail})


@pytest.mark.parametrize(
    ("ticket", "status", "detail"),
    [("punched", 401, {"code": "used", "at": [1, None]}), ("of a member", 402, ["unpaid", "2026-01-01"])],
)
async def test_a_detail_that_is_no_text_is_sent_as_json(stack: Stack, ticket: str, status: int, detail: Any) -> None:
    """As FastAPI sends it."""
    for method, path, body in PATHS:
        assert await refusal(stack, method, path, body, ticket) == (status, {"detail": detail})


@pytest.mark.parametrize("detail", [{"x": "\ud800"}, "x" * 20_000, {"x": "y" * 20_000}])
def test_a_detail_that_json_cannot_say_or_that_is_too_long_is_text(detail: Any) -> None:
    body = JsonError(401, detail).response().body
    assert isinstance(body, bytes)
    sent = json.loads(body)["detail"]
    assert isinstance(sent, str)
    assert 0 < len(sent) <= 10_000


def test_a_detail_that_contains_itself_is_text() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    assert JsonError(401, cyclic).detail == '"a list that is no JSON"'


async def refusal(stack: Stack, method: str, path: str, body: Any, ticket: str) -> tuple[int, Any]:
    status, answer = await stack.call(method, path, body, headers={"x-ticket": ticket})
    return status, answer


async def test_a_caller_is_who_the_header_read_as_text_says(stack: Stack) -> None:
    status, thread = await stack.call("POST", "/threads", {}, headers={"X-TICKET": "of ann"})
    assert (status, thread["metadata"]["owner"]) == (200, "ann")


def test_headers_are_found_by_bytes_and_by_text() -> None:
    headers = RequestHeaders({b"x-api-key": b"k\xc3\xa9y", b"empty": b"", b"broken": b"\xff"})
    assert headers[b"x-api-key"] == "k\u00e9y".encode()
    assert headers["X-Api-Key"] == headers.get("x-api-key") == "k\u00e9y"
    assert headers.get("empty") == ""
    assert headers.get("broken").encode("utf-8", "surrogateescape") == b"\xff"
    for absent in ("cookie", b"cookie", b"X-Api-Key", "\N{SNOWMAN}", 3, None):
        assert headers.get(absent) is None
        assert headers.get(absent, "default") == "default"
        assert absent not in headers
        with pytest.raises(KeyError):
            headers[absent]
    assert "Empty" in headers
    assert b"empty" in headers
    assert dict(headers.items()) == {b"x-api-key": "k\u00e9y".encode(), b"empty": b"", b"broken": b"\xff"}


@pytest.mark.parametrize("identity", [7, uuid.UUID(int=7)])
def test_a_key_of_a_database_is_an_identity(identity: Any) -> None:
    assert user_of({"identity": identity})["identity"] == str(identity)
    with pytest.raises(TypeError, match="of type bool"):
        user_of({"identity": True})
