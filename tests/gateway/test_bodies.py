"""Request bodies: read after authentication, bounded in bytes and time, unpacked up to the limit."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD
from langlog_gateway.http.bodies.reader import unpack
from langlog_gateway.http.errors import ApiError

from .conftest import MakeStack, Stack

APP = Path(__file__).parent / "own_app" / "web.py"
LIMIT = 100_000


def project(folder: Path, app: str = "") -> Path:
    config: dict[str, Any] = {"graphs": {"echo": "./echo.py:graph"}, "auth": {"path": f"{APP}:by_header"}}
    if app:
        config["http"] = {"app": f"{APP}:{app}"}
    file = folder / "langgraph.json"
    file.write_text(json.dumps(config))
    return file


async def exchange(stack: Stack, *parts: bytes) -> tuple[int, bytes]:
    """Status and whole answer of what is sent as it is; returns when the server has closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.backbone.settings.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if writer.can_write_eof():
            writer.write_eof()
        rest = await reader.read()
    finally:
        writer.close()
    return int(head.split(b" ")[1]), head + rest


def post(*headers: str, path: str = "/threads") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: 127.0.0.1", *headers, "", ""]).encode()


@pytest.mark.parametrize("app", ["", "app", "wrapped", "plain"])
async def test_a_caller_without_credentials_is_refused_before_the_body_is_there(
    make_stack: MakeStack, tmp_path: Path, app: str
) -> None:
    async with make_stack(project=project(tmp_path, app), max_body_bytes=LIMIT) as stack:
        for head in (
            post("content-length: 50000"),
            post("transfer-encoding: chunked"),
            post("content-length: 50000", "content-encoding: gzip"),
            post("content-length: 50000", "content-encoding: zzz"),
            post("content-length: 50000", path="/nope"),
        ):
            status, answer = await exchange(stack, head)
            assert status == 401, head
            assert b"connection: close" in answer.lower()


EXPECTING = "expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("app", ["", "app", "wrapped", "plain"])
async def test_a_body_is_asked_for_once_nothing_else_is_wrong(make_stack: MakeStack, tmp_path: Path, app: str) -> None:
    """RFC 9110, §10.1.1: a response that the headers alone decide comes instead of 100, and the body need not be sent."""
    alice = "authorization: alice"
    async with make_stack(project=project(tmp_path, app), max_body_bytes=LIMIT) as stack:
        for status, head in (
            (401, post(EXPECTING, "content-length: 20")),
            (413, post(EXPECTING, alice, f"content-length: {LIMIT + 1}")),
            (415, post(EXPECTING, alice, "content-length: 20", "content-encoding: zzz")),
            (404, post(EXPECTING, alice, "content-length: 20", path="/nope")),
            (405, post(EXPECTING, alice, "content-length: 20", path="/info")),
        ):
            assert (await exchange(stack, head))[0] == status
        port = stack.backbone.settings.port
        for path in ("/threads", *(["/own"] if app in ("app", "wrapped") else [])):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post(EXPECTING.upper(), alice, "connection: close", "content-length: 20", path=path))
            assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
            writer.write(b'{"metadata":{"x":1}}')
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK"), path
            writer.close()


async def test_other_expectations_are_ignored(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path)) as stack:
        for headers in (["expect: 200-maybe"], []):
            head = post("authorization: alice", "connection: close", "content-length: 2", *headers)
            assert (await exchange(stack, head + b"{}"))[0] == 200
        old = post(EXPECTING, "authorization: alice", "content-length: 2").replace(b"HTTP/1.1", b"HTTP/1.0")
        assert (await exchange(stack, old + b"{}"))[0] == 200


@pytest.mark.parametrize("app", ["", "app"])
async def test_a_body_is_bounded_as_it_arrives_and_unpacked(make_stack: MakeStack, tmp_path: Path, app: str) -> None:
    async with make_stack(project=project(tmp_path, app), max_body_bytes=LIMIT) as stack:
        alice = "authorization: alice"
        status, answer = await exchange(stack, post(alice, f"content-length: {LIMIT + 1}"))
        assert (status, b"connection: close" in answer.lower()) == (413, True), "by its length alone"
        chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
        assert (await exchange(stack, post(alice, "transfer-encoding: chunked"), *[chunk] * 4))[0] == 413
        bomb = gzip.compress(b" " * 10_000_000)
        assert len(bomb) < LIMIT
        for path in ("/threads", "/mcp", "/own" if app else "/runs/wait"):
            head = post(alice, f"content-length: {len(bomb)}", "content-encoding: gzip", path=path)
            status, answer = await exchange(stack, head, bomb)
            assert status == 413, path
            assert b"LANGLOG_MAX_BODY_BYTES" in answer


@pytest.mark.parametrize("app", ["", "app"])
async def test_compressed_bodies_are_read(make_stack: MakeStack, tmp_path: Path, app: str) -> None:
    body = json.dumps({"metadata": {"a": "x" * 1000}}).encode()
    bare = zlib.compressobj(wbits=-15)
    async with make_stack(project=project(tmp_path, app), max_body_bytes=LIMIT) as stack:
        for encoding, data, expected in (
            ("gzip", gzip.compress(body), 200),
            ("X-GZIP", gzip.compress(body), 200),
            ("deflate", zlib.compress(body), 200),
            ("deflate", bare.compress(body) + bare.flush(), 200),
            ("identity", body, 200),
            ("gzip", b"", 422),
            ("gzip", gzip.compress(body)[:-9], 400),
            ("gzip", gzip.compress(body) + b"more", 400),
            ("gzip", body, 400),
            ("deflate", body, 400),
            ("gzip, gzip", gzip.compress(gzip.compress(body)), 415),
            ("gzip, deflate", body, 415),
            ("compress", body, 415),
            ("br", body, 400 if HAS_BROTLI else 415),
            ("zstd", body, 400 if HAS_ZSTD else 415),
        ):
            headers = {"Content-Encoding": encoding, "Authorization": "alice"}
            async with stack.http.post(f"{stack.url}/threads", data=data, headers=headers) as answer:
                assert answer.status == expected, (encoding, expected)
                result = await answer.json()
                assert expected != 200 or result["metadata"]["a"] == "x" * 1000
        if app:
            headers = {"Content-Encoding": "gzip", "Authorization": "alice"}
            async with stack.http.post(f"{stack.url}/own", data=gzip.compress(b"abc"), headers=headers) as answer:
                assert (await answer.json())["body"] == "abc"


@pytest.mark.parametrize("app", ["", "app"])
async def test_a_body_that_comes_too_slowly_is_408(make_stack: MakeStack, tmp_path: Path, app: str) -> None:
    async with make_stack(project=project(tmp_path, app), body_timeout_s=0.05) as stack:
        status, answer = await exchange(stack, post("authorization: alice", "content-length: 1000"), b"{")
        assert status == 408
        assert b"connection: close" in answer.lower()
        assert b"LANGLOG_BODY_TIMEOUT_SECS" in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\r\n\r\n",
        post("content-length: abc"),
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    ],
)
async def test_the_answer_to_what_is_no_http_does_not_name_the_servers_software(stack: Stack, sent: bytes) -> None:
    status, received = await exchange(stack, sent)
    assert status == 400
    assert b"server:" not in received.lower()
    assert b"aiohttp" not in received.lower()


def test_nothing_is_unpacked_beyond_the_limit() -> None:
    assert unpack(gzip.compress(b"x" * 1000), "gzip", 1000) == b"x" * 1000
    for encoding, data in (("gzip", gzip.compress(b"x" * 1001)), ("deflate", zlib.compress(b"x" * 1001))):
        with pytest.raises(ApiError) as raised:
            unpack(data, encoding, 1000)
        assert raised.value.status == 413
