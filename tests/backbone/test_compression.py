"""Compression: whatever went in comes out, small bytes against a dictionary that stays as it was released."""

from __future__ import annotations

import hashlib
import os

import pytest
import zstandard
from langlog_backbone.values import compression
from langlog_backbone.values.compression import LARGE_BYTES, compressed, compressed_small, restored

DICTIONARIES = {1: "43587dee1b31c2c4ae5f8f7645f8ceab5fc93dd1272d195434252443e3bb748b"}
"""Number -> SHA-256. Stored frames name their dictionary by number, so a dictionary never changes: a better one gets the next number."""

ZSTD = zstandard.ZstdCompressor()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 800, LARGE_BYTES - 1, LARGE_BYTES, 100_000])
def test_what_went_in_comes_out(size: int) -> None:
    record = b'{"thread_id":"01a226ea-87b6-73fb-9853-8603829d93d5","attempt":1,"outcome":"success"}' * 2_000
    for data in (record[:size], os.urandom(size), ZSTD.compress(record[:size]), compressed(record[:size])):
        assert restored(compressed(data)) == restored(compressed_small(data)) == data


def test_small_ones_are_smaller_with_the_words_that_all_of_them_share() -> None:
    made = (
        b'{"thread_id":"01a226ea-87b6-73fb-9853-8603829d93d5","status":"idle","values":{"text":"hi"},"frame_count":5}'
    )
    assert len(compressed_small(made)) < len(ZSTD.compress(made)) * 0.8


def test_a_dictionary_is_never_changed_and_never_removed() -> None:
    for number, digest in DICTIONARIES.items():
        assert hashlib.sha256(compression.dictionary(number).as_bytes()).hexdigest() == digest
    assert compression.DICTIONARY in DICTIONARIES


def test_a_frame_of_a_later_langlog_says_which_dictionary_it_needs() -> None:
    later = zstandard.train_dictionary(4_096, [b"words of %d" % n * 9 for n in range(3_000)], dict_id=77)
    frame = zstandard.ZstdCompressor(dict_data=later).compress(b"words of 1")
    with pytest.raises(zstandard.ZstdError, match="dictionary 77"):
        restored(frame)
