"""Reads the bodies of requests: bounded in bytes, in time, in the unpacked size of a compressed body, and all together (`budget`).

The server hands bodies on as they arrive (`service`: ``auto_decompress`` is off), so that nothing is unpacked before the caller is
authenticated. `receive_body` then reads the whole body, unpacks it in a thread up to the limit, and leaves the result where
``request.read()`` finds it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web
from aiohttp.compression_utils import HAS_BROTLI, HAS_ZSTD, BrotliDecompressor, ZSTDDecompressor

from ..aiohttp_members import set_body
from ..errors import ApiError
from .budget import SMALL_BYTES, BodyBudget
from .expectation import invite_body

ENCODINGS = ("gzip", "deflate", *(("br",) if HAS_BROTLI else ()), *(("zstd",) if HAS_ZSTD else ()))
"""Content encodings that this installation unpacks; brotli and zstd need their optional packages."""
NO_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose body is not read by any built-in route."""


STALL_S = 10.0
RATE_MIN = 16_384
"""Minimum rate of a body that holds room, in bytes per second, after its first `STALL_S`: a stalled one blocks others no longer."""


class BodyLimits(NamedTuple):
    """``bytes``: maximum size of a body, as it arrives and unpacked; ``seconds``: maximum time until it has arrived.
    ``stall_s``: as `STALL_S`."""

    bytes: int
    seconds: float
    stall_s: float = STALL_S

    def time_for(self, received: int) -> float:
        """Return the seconds within which a body that holds room must have received these bytes and the next ones."""
        return min(self.seconds, self.stall_s + received / RATE_MIN)


class BodySource(NamedTuple):
    """Source of a body other than the connection: the project's application may have replaced it."""

    read: Callable[[], Awaitable[bytes]]


class Held(NamedTuple):
    """Bytes held for a body. ``user``: owner of the share; empty: no share."""

    bytes: int
    user: str


LIMITS = web.AppKey("body_limits", BodyLimits)
BUDGET = web.AppKey("body_budget", BodyBudget)
HELD = web.RequestKey("body_held", Held)
"""Bytes of the budget that are held for the request's body."""
SOURCE = web.RequestKey("body_source", BodySource)
RECEIVED = web.RequestKey("body_received", bool)


async def receive_body(request: web.Request, user: str = "") -> bytes:
    """Return the request's body, unpacked. Later calls return the same bytes, as ``request.read()`` does.

    ``user``: identity of the caller whose share of the budget it uses; empty: none, or not known yet.

    Raises ApiError: 400 for a damaged compressed body, 408 for one that is too slow, 413 for one that is too large, 415 for
    an encoding that is not supported.
    """
    if RECEIVED not in request:
        source = request.get(SOURCE)
        set_body(request, await _from_connection(request, user) if source is None else await source.read())
        request[RECEIVED] = True
    return await request.read()


def release_body(request: web.Request) -> None:
    """Release a body that has been decoded, or whose request is over. Later calls do nothing."""
    held = request.pop(HELD, None)
    if held is not None:
        set_body(request, b"")
        request.app[BUDGET].give(*held)


async def _from_connection(request: web.Request, user: str) -> bytes:
    limits = request.app[LIMITS]
    encoding = encoding_of(request)
    if (request.content_length or 0) > limits.bytes:
        raise too_large(limits.bytes)
    await invite_body(request)
    body = await _received(request, limits, limits.bytes if encoding else 0, user)
    if encoding and body:
        if HELD not in request:
            async with _time_for_room(limits):
                await _hold(request, limits.bytes, user)
        body = await asyncio.to_thread(unpack, body, encoding, limits.bytes)
    _hold_only(request, len(body))
    return body


async def _received(request: web.Request, limits: BodyLimits, more: int, user: str) -> bytes:
    """Return the body as it was sent. A large one takes its room, and ``more``, in one step: otherwise two could wait for each other.

    It does so once more than a small body has arrived: a client that announces a large body and sends nothing holds nothing.
    """
    try:
        if request.content.is_eof():  # it came with its headers, as most bodies do
            begun = request.content.read_nowait()
        else:
            async with asyncio.timeout(limits.seconds):
                begun = await _up_to(request, SMALL_BYTES)
        if len(begun) <= SMALL_BYTES:
            return begun
        async with _time_for_room(limits):
            await _hold(request, (request.content_length or limits.bytes) + more, user)
        body = await _in_pace(request, begun, limits)
    except TimeoutError:
        raise ApiError(
            408, f"The request body did not arrive within {limits.seconds:g} s (LANGLOG_BODY_TIMEOUT_SECS)"
        ) from None
    if len(body) > limits.bytes:
        raise too_large(limits.bytes)
    return body


@asynccontextmanager
async def _time_for_room(limits: BodyLimits) -> AsyncIterator[None]:
    """Limit the wait for room. Raises ApiError 503 when there is none within the time limit of a body."""
    try:
        async with asyncio.timeout(limits.seconds):
            yield
    except TimeoutError:
        raise ApiError(
            503,
            "Too many large request bodies at once (LANGLOG_MAX_BODIES_BYTES): try again later",
            {"retry-after": "1"},
        ) from None


async def _up_to(request: web.Request, limit: int) -> bytes:
    """Return the body, or what has arrived of it once that exceeds the limit."""
    pieces, size = list[bytes](), 0
    while size <= limit and (piece := await request.content.readany()):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


async def _in_pace(request: web.Request, begun: bytes, limits: BodyLimits) -> bytes:
    """Return a body that holds room. Raises TimeoutError when its time is over, ApiError 408 when it stalls."""
    loop = asyncio.get_running_loop()
    since, pieces, size = loop.time(), [begun], len(begun)
    try:
        async with asyncio.timeout(None) as deadline:
            while size <= limits.bytes:
                deadline.reschedule(since + limits.time_for(size - len(begun)))
                piece = await request.content.readany()
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
    except TimeoutError:
        if loop.time() - since >= limits.seconds:
            raise
        raise ApiError(
            408,
            f"The request body stalled at {size:,} bytes: after its first {limits.stall_s:g} s a body over {SMALL_BYTES:,} bytes "
            f"must arrive with at least {RATE_MIN:,} bytes a second",
        ) from None
    return b"".join(pieces)


async def _hold(request: web.Request, amount: int, user: str) -> None:
    """Take room for the body from the gateway's budget."""
    request[HELD] = Held(await request.app[BUDGET].take(amount, user), user)


def _hold_only(request: web.Request, amount: int) -> None:
    """Release room that the body does not need."""
    held = request.get(HELD)
    if held is None:
        return
    kept = 0 if amount <= SMALL_BYTES else min(amount, held.bytes)
    request[HELD] = held._replace(bytes=kept)
    request.app[BUDGET].give(held.bytes - kept, held.user)


def encoding_of(request: web.Request) -> str:
    """Return the request's content encoding; empty for a plain body. Raises ApiError 415 for one that is not supported, and
    for several."""
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
    """Return the unpacked body; never produces more than ``limit`` bytes and one. Raises ApiError 400 and 413."""
    try:
        unpacked = (
            _inflate(body, encoding, limit) if encoding in ("gzip", "deflate") else _expand(body, encoding, limit)
        )
    except Exception as error:  # each library has its own: zlib.error, brotli.error, ZstdError, ValueError
        raise ApiError(400, f"The request body is not valid {encoding}: {error}") from None
    if len(unpacked) > limit:
        raise too_large(limit)
    return unpacked


def _inflate(body: bytes, encoding: str, limit: int) -> bytes:
    bits = zlib.MAX_WBITS
    if encoding == "gzip":
        bits += 16
    elif body[0] & 0x0F != 8:  # many clients send deflate without its zlib header
        bits = -bits
    unpacker = zlib.decompressobj(wbits=bits)
    inflated = unpacker.decompress(body, limit + 1)
    if len(inflated) <= limit and not unpacker.eof:
        raise ValueError("it ends too early")
    if unpacker.unused_data:
        raise ValueError("more data follows its end")
    return inflated


def _expand(body: bytes, encoding: str, limit: int) -> bytes:
    unpacker = BrotliDecompressor() if encoding == "br" else ZSTDDecompressor()
    expanded = bytearray(unpacker.decompress_sync(body, limit + 1))
    while len(expanded) <= limit and unpacker.data_available:
        piece = unpacker.decompress_sync(b"", limit + 1 - len(expanded))
        if not piece:
            break
        expanded += piece
    return bytes(expanded)


def too_large(limit: int) -> ApiError:
    return ApiError(413, f"The request body is larger than {limit} bytes (LANGLOG_MAX_BODY_BYTES)")
