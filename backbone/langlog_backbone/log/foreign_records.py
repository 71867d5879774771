"""Records of other producers: their keys and headers may hold what Postgres has no text for, and be of any size. Pure.

langlog's own records have short keys, a header has few characters, and neither has a NUL. What is put in their place is only for rows and
for dead letters: the log keeps each record as it came.
"""

from __future__ import annotations

import hashlib

import msgspec

from .port import Record

KEY_BYTES = 1_000
"""Size in bytes up to which a key is stored as it is: an index of Postgres takes 2,700."""
SHOWN_CHARACTERS = 100
"""Number of characters that are kept of a longer key."""
HEADERS_BYTES = 32_000
"""Size in bytes up to which all headers are kept in a dead letter."""
HEADER_CHARACTERS = 1_000
"""Number of characters that are kept of each header beyond that."""
HEADERS = 20
"""Number of headers that are kept beyond that."""


def storable_text(text: str) -> str:
    """Return the text with each NUL replaced (U+FFFD), since Postgres refuses it."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


def storable_key(key: str) -> str:
    """Return the key as rows hold it. A long one ends in the digest of all of it, so that two keys stay two."""
    if len(key) * 4 > KEY_BYTES and len(data := key.encode()) > KEY_BYTES:
        key = f"{key[:SHOWN_CHARACTERS]}…{hashlib.sha256(data).hexdigest()}"
    return storable_text(key)


def storable(record: Record) -> Record:
    """Return the record with its key as rows hold it."""
    key = storable_key(record.key)
    return record if key == record.key else msgspec.structs.replace(record, key=key)


def storable_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers as a dead letter holds them."""
    if sum(len(name) + len(value) for name, value in headers.items()) * 4 > HEADERS_BYTES:
        kept = sorted(headers, key=lambda name: not name.startswith(("ce_", "content-type")))[:HEADERS]
        headers = {name[:HEADER_CHARACTERS]: headers[name][:HEADER_CHARACTERS] for name in kept}
    return {storable_text(name): storable_text(value) for name, value in headers.items()}
