"""Compresses bytes where that saves space; a prefix distinguishes compressed from plain ones.

For what is written by langlog and read by langlog alone: records of the embedded log, sealed bodies, frames in Redis. Small ones
are compressed against a dictionary (`dictionary-<n>.zstd`, made by ``python -m bench.dictionary`` from what runs write), which
holds the words that all of them share: alone, each would have to spell them out. A dictionary that a release has written with is
never changed and never removed; a better one gets the next number. Any thread may call.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib.resources import files

import zstandard

FROM_BYTES = 210
"""Size in bytes below which data is not compressed (the frames that begin a run, for example): a call after a pause costs
25 µs, for the code and the dictionary that it brings into the cache."""
LARGE_BYTES = 4_096
"""Size in bytes from which the dictionary is not used: larger data has enough repetition of its own."""
LEVEL = 1
"""Compression level of zstd without the dictionary: 165 kB of messages as JSON take 0.1 ms, and 0.03 ms to restore."""
SMALL_LEVEL = 1
"""Level with the dictionary: a record of 2 kB takes 4 µs in a sequence of calls and 25 after a pause, 1.5 and 15 to restore. Level 3
saves another tenth, and takes 40 µs after a pause: its larger tables have to be loaded into the cache."""
WORTH = 0.9
"""Maximum share of the plain size at which compressed data is used; already compressed data grows."""
RESTORED_BYTES_MAX = 2**30
"""Maximum size of a restored frame, in bytes. A frame that claims more is damaged: its size would be allocated before reading."""
DICTIONARY = 1
"""Number of the dictionary to write with. It is in each frame that needs it."""

_MAGIC = zstandard.FRAME_HEADER
_NUMBER_BYTES = (0, 1, 2, 4)
"""Length of the dictionary's number in bytes, by the last two bits of a frame's descriptor (RFC 8878, section 3.1.1.1.1)."""
_NO_WINDOW = 0x20
"""Bit of the descriptor: there is no byte with the window's size, which would precede the number."""
_LARGE_FLAG = 0b1000_0000
"""Bit of the descriptor: the size of the content takes four or eight bytes."""
_local = threading.local()


def compressed(data: bytes) -> bytes:
    """Return the data, or a zstd frame of it. `restored` reverses it in either case."""
    return _compressed(data, FROM_BYTES)


def compressed_small(data: bytes) -> bytes:
    """Compress data of any size, like `compressed`: for data that is stored for long."""
    return _compressed(data, 0)


def _compressed(data: bytes, least: int) -> bytes:
    size = len(data)
    if size >= least:
        smaller = _compress(data) if size >= LARGE_BYTES else _compress_small(data)
        if len(smaller) <= size * WORTH or data.startswith(_MAGIC):
            return smaller
        return data
    # data that looks like a frame is wrapped in one, so that `restored` need not guess
    return _compress(data) if data.startswith(_MAGIC) else data


def restored(data: bytes) -> bytes:
    """Return the bytes that were passed to `compressed`. Raises zstandard.ZstdError for a damaged frame, or one of a later langlog."""
    if not data.startswith(_MAGIC):
        return data
    if len(data) > 4 and data[4] & _LARGE_FLAG:
        size = zstandard.get_frame_parameters(data).content_size
        if RESTORED_BYTES_MAX < size < zstandard.CONTENTSIZE_ERROR:
            raise zstandard.ZstdError(f"a frame says that it holds {size:,} bytes")
    number = _number(data)
    try:
        decompressor = _local.decompressors[number]
    except (AttributeError, KeyError):
        decompressor = _decompressor(number)
    whole: bytes = decompressor.decompress(data)
    return whole


def _number(frame: bytes) -> int:
    """Return the number of the dictionary that a frame needs; 0: none. Parsed here, because the library's call costs as
    much as half a decompression."""
    if len(frame) < 5 or not (length := _NUMBER_BYTES[frame[4] & 0b11]):
        return 0
    start = 5 if frame[4] & _NO_WINDOW else 6
    return int.from_bytes(frame[start : start + length], "little")


@cache
def dictionary(number: int) -> zstandard.ZstdCompressionDict:
    """Return a dictionary. Raises zstandard.ZstdError for one that this langlog does not have."""
    file = files(__package__) / f"dictionary-{number}.zstd"
    if not file.is_file():
        raise zstandard.ZstdError(f"compressed with dictionary {number}, which this langlog does not have")
    return zstandard.ZstdCompressionDict(file.read_bytes())


@cache
def _dictionary_to_write_with() -> zstandard.ZstdCompressionDict:
    own = zstandard.ZstdCompressionDict(dictionary(DICTIONARY).as_bytes())
    own.precompute_compress(level=SMALL_LEVEL)
    return own


def _decompressor(number: int) -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressors"):
        _local.decompressors = {}
    made = zstandard.ZstdDecompressor(dict_data=dictionary(number)) if number else zstandard.ZstdDecompressor()
    _local.decompressors[number] = made
    return made


def _compress(data: bytes) -> bytes:
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    smaller: bytes = compressor.compress(data)
    return smaller


def _compress_small(data: bytes) -> bytes:
    compressor = getattr(_local, "small_compressor", None)
    if compressor is None:
        compressor = _local.small_compressor = zstandard.ZstdCompressor(
            level=SMALL_LEVEL, dict_data=_dictionary_to_write_with()
        )
    smaller: bytes = compressor.compress(data)
    return smaller
