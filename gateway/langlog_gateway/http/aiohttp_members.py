"""Operations on a request for which aiohttp has no public API.

The one module of the gateway that touches private members of aiohttp. `tests/packaging/test_private_names.py` lists them, and
pyproject.toml bounds the versions that have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict, CIMultiDictProxy


def fits(resource: Any, path: str) -> bool:
    """Return whether the path matches the resource. Needs no request: one whose body was read cannot be cloned with another path."""
    return resource._match(path) is not None


def set_body(request: web.Request, body: bytes) -> None:
    """Set the bytes that `request.read` returns from now on."""
    request._read_bytes = body


def set_writer(request: web.Request, writer: AbstractStreamWriter) -> None:
    """Set the writer of the response to the request, instead of its connection."""
    request._payload_writer = writer


def with_headers(request: web.Request, headers: Mapping[str, str]) -> web.Request:
    """Return the same request with other headers, its body unread. aiohttp refuses that of one whose body was read."""
    body, request._read_bytes = request._read_bytes, None
    try:
        return request.clone(headers=headers)
    finally:
        request._read_bytes = body


def without_header(message: Any, name: str) -> Any:
    """Return a request's message without a header, as it was received and as it is read. ``name``: in lower case."""
    headers = CIMultiDict(message.headers)
    headers.popall(name, None)
    raw = tuple(pair for pair in message.raw_headers if bytes(pair[0]).lower() != name.encode())
    return message._replace(headers=CIMultiDictProxy(headers), raw_headers=raw)


def requests_of(app: web.Application, kind: type[web.Request]) -> Any:
    """Return a server's factory of requests of this class."""
    return partial(app._make_request, _cls=kind)
