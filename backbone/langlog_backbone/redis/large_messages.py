"""Messages too large for Redis' channels: the sender leaves the body in Redis, and publishes a reference to it.

    sender ──RPUSH chunks──► Redis list (expires) ◄──LINDEX each──── receiver
       └────PUBLISH reference ──► channel ──────────────────────────►──┘

Redis keeps unread messages of a subscriber in an output buffer, and by default closes a subscription with 32 MB of it, or with
8 MB for a minute (``client-output-buffer-limit pubsub``): one large message would cost a gateway all its messages. References are
small, and the body is fetched in chunks over a connection of its own, which has no such limit. `Bus` does this for every message that is
published; subscribers see the body. A reference can also name an entry of a Redis stream, where the body is anyway.

Concurrency: belongs to its bus. When sender or receiver dies, the body in Redis expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..time.clock import new_id

if TYPE_CHECKING:
    from .client import RedisPipe

INLINE_BYTES = 1_000_000
"""Maximum size of a message that is published directly, in bytes."""
CHUNK_BYTES = 1_000_000
"""Bytes that one call writes to Redis, or reads from it, so that other callers' commands go between."""
KEPT_S = 60
"""Seconds for which Redis keeps a body."""

REFERENCE_MARK = b"\x00langlog-large\x00"
"""Prefix of references; no other message begins so."""


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """Location of a message's body: the list ``key``, or field ``f`` of entry ``entry`` of the stream ``key``."""

    key: str
    bytes: int
    chunks: int = 0
    entry: str = ""
    once: bool = False
    """There is one receiver, which removes the body."""


_decode = msgspec.msgpack.Decoder(Reference).decode


def encode(reference: Reference) -> bytes:
    """Return the reference as a message."""
    return REFERENCE_MARK + msgspec.msgpack.encode(reference)


def decode(data: bytes) -> Reference | None:
    """Return the reference in a message, or None for any other message. Raises msgspec.MsgspecError for a damaged one."""
    return _decode(data[len(REFERENCE_MARK) :]) if data.startswith(REFERENCE_MARK) else None


class LargeMessages:
    """Writes and reads bodies. ``pipe``: a connection for this purpose only."""

    def __init__(self, pipe: RedisPipe) -> None:
        self._pipe = pipe

    async def put(self, data: bytes, *, once: bool) -> Reference:
        """Store a body in Redis. Raises RedisUnavailable, as RedisRefused when Redis is full."""
        key = self._pipe.key("large", new_id())
        starts = range(0, len(data), CHUNK_BYTES)
        view = memoryview(data)
        try:
            for start in starts:
                pushed = self._pipe.submit("RPUSH", key, bytes(view[start : start + CHUNK_BYTES]))
                self._pipe.send("EXPIRE", key, KEPT_S)
                await pushed
        except BaseException:
            self._pipe.send("UNLINK", key)
            raise
        return Reference(key, len(data), len(starts), once=once)

    async def get(self, reference: Reference) -> bytes | None:
        """Return the body; None if Redis no longer has it. Raises RedisUnavailable."""
        if reference.entry:
            entries: list[Any] = await self._pipe.call("XRANGE", reference.key, reference.entry, reference.entry)
            return entries[0][1][entries[0][1].index(b"f") + 1] if entries else None
        chunks: list[bytes] = []
        for n in range(reference.chunks):
            chunk: bytes | None = await self._pipe.call("LINDEX", reference.key, n)
            if chunk is None:
                return None
            chunks.append(chunk)
        if reference.once:
            self._pipe.send("UNLINK", reference.key)
        return b"".join(chunks)

    async def stop(self) -> None:
        await self._pipe.stop()
