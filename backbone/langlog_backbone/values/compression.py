"""Compresses bytes where that pays; a prefix distinguishes compressed from plain ones.

For what is written by langlog and read by langlog alone: values of the embedded log, frames in Redis. Any thread may call.
"""

from __future__ import annotations

import threading

import zstandard

FROM_BYTES = 4_096
"""Smaller ones stay as they are: a page of the embedded log is no smaller than this."""
LEVEL = 1
"""Of zstd: 165 kB of messages as JSON take 0.1 ms, and 0.03 ms back."""
WORTH = 0.9
"""Kept only when it is at most this share of the plain size; what is compressed already grows."""

_MAGIC = zstandard.FRAME_HEADER
_local = threading.local()


def compressed(data: bytes) -> bytes:
    """The data, or a zstd frame of it. `restored` gives the data back in either case."""
    if len(data) >= FROM_BYTES:
        smaller = _compress(data)
        if len(smaller) <= len(data) * WORTH or data.startswith(_MAGIC):
            return smaller
        return data
    # what looks like a frame is wrapped in one, so that `restored` need not guess
    return _compress(data) if data.startswith(_MAGIC) else data


def restored(data: bytes) -> bytes:
    """The bytes that were given to `compressed`. Raises zstandard.ZstdError for a damaged frame."""
    if not data.startswith(_MAGIC):
        return data
    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    whole: bytes = decompressor.decompress(data)
    return whole


def _compress(data: bytes) -> bytes:
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    smaller: bytes = compressor.compress(data)
    return smaller
