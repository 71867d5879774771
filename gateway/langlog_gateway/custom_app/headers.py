"""Headers between aiohttp, which has them as text and sends UTF-8, and ASGI, which has them as bytes (RFC 9110 §5.5)."""

from __future__ import annotations

from collections.abc import Iterable

from multidict import CIMultiDict


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> CIMultiDict[str]:
    """Return the headers of an application's message. Values in UTF-8 are sent as they are; others are read as latin-1 and sent in UTF-8,
    the only encoding that aiohttp writes."""
    return CIMultiDict((bytes(name).decode("latin-1"), _text(bytes(value))) for name, value in pairs)


def asgi_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return aiohttp's headers for a message to the application's middleware."""
    return [(name.lower().encode("latin-1"), value.encode(errors="surrogateescape")) for name, value in headers]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
