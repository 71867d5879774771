"""Reads the bodies of requests: bounded in bytes, in time and in what a compressed body may unpack to.

The server hands bodies on as they arrive (`service`: ``auto_decompress`` is off), so that nothing is unpacked before the caller is
authenticated. `receive_body` then reads the whole body, unpacks it in a thread up to the limit, and leaves the result where
``request.read()`` finds it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD, BrotliDecompressor, ZSTDDecompressor

from .errors import ApiError

ENCODINGS = ("gzip", "deflate", *(("br",) if HAS_BROTLI else ()), *(("zstd",) if HAS_ZSTD else ()))
"""Content encodings that this installation unpacks; brotli and zstd need their optional packages."""
NO_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose body no built-in route reads."""


class BodyLimits(NamedTuple):
    """``bytes``: of a body, as it arrives and unpacked; ``seconds``: until it has arrived."""

    bytes: int
    seconds: float


class BodySource(NamedTuple):
    """Where a body comes from when it is not the connection: the project's application may have replaced it."""

    read: Callable[[], Awaitable[bytes]]


LIMITS = web.AppKey("body_limits", BodyLimits)
SOURCE = web.RequestKey("body_source", BodySource)
RECEIVED = web.RequestKey("body_received", bool)


async def receive_body(request: web.Request) -> bytes:
    """The request's body, unpacked. Later calls return the same bytes, as ``request.read()`` does.

    Raises ApiError: 400 for a damaged compressed body, 408 for one that is too slow, 413 for one that is too large, 415 for
    an encoding that is not supported.
    """
    if RECEIVED not in request:
        source = request.get(SOURCE)
        # aiohttp has no public way to set the body of a request
        request._read_bytes = await _from_connection(request) if source is None else await source.read()
        request[RECEIVED] = True
    return await request.read()


async def _from_connection(request: web.Request) -> bytes:
    limits = request.app[LIMITS]
    encoding = encoding_of(request)
    if (request.content_length or 0) > limits.bytes:
        raise too_large(limits.bytes)
    try:
        async with asyncio.timeout(limits.seconds):
            body = await request.read()
    except TimeoutError:
        raise ApiError(
            408, f"The request body did not arrive within {limits.seconds:g} s (LANGLOG_BODY_TIMEOUT_SECS)"
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large(limits.bytes) from None
    if not encoding or not body:
        return body
    return await asyncio.to_thread(unpack, body, encoding, limits.bytes)


def encoding_of(request: web.Request) -> str:
    """The request's content encoding; empty for a plain body. Raises ApiError 415 for one that is not supported, and for several."""
    named = [
        part.strip().lower() for text in request.headers.getall("content-encoding", ()) for part in text.split(",")
    ]
    named = [name for name in named if name not in ("", "identity")]
    if not named:
        return ""
    name = named[0].removeprefix("x-")
    if len(named) > 1 or name not in ENCODINGS:
        raise ApiError(
            415,
            f"Content-Encoding {', '.join(named)!r} is not supported: send one of {', '.join(ENCODINGS)}, or a plain body",
            {"accept-encoding": ", ".join(ENCODINGS)},
        )
    return name


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The unpacked body; never produces more than ``limit`` bytes and one. Raises ApiError 400 and 413."""
    try:
        found = _inflate(body, encoding, limit) if encoding in ("gzip", "deflate") else _expand(body, encoding, limit)
    except Exception as error:  # each library has its own: zlib.error, brotli.error, ZstdError, ValueError
        raise ApiError(400, f"The request body is not valid {encoding}: {error}") from None
    if len(found) > limit:
        raise too_large(limit)
    return found


def _inflate(body: bytes, encoding: str, limit: int) -> bytes:
    bits = zlib.MAX_WBITS
    if encoding == "gzip":
        bits += 16
    elif body[0] & 0x0F != 8:  # many clients send deflate without its zlib header
        bits = -bits
    unpacker = zlib.decompressobj(wbits=bits)
    found = unpacker.decompress(body, limit + 1)
    if len(found) <= limit and not unpacker.eof:
        raise ValueError("it ends too early")
    if unpacker.unused_data:
        raise ValueError("more data follows its end")
    return found


def _expand(body: bytes, encoding: str, limit: int) -> bytes:
    unpacker = BrotliDecompressor() if encoding == "br" else ZSTDDecompressor()
    found = bytearray(unpacker.decompress_sync(body, limit + 1))
    while len(found) <= limit and unpacker.data_available:
        piece = unpacker.decompress_sync(b"", limit + 1 - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)


def too_large(limit: int) -> ApiError:
    return ApiError(413, f"The request body is larger than {limit} bytes (LANGLOG_MAX_BODY_BYTES)")
