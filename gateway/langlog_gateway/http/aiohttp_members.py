"""What aiohttp has no public way to do with a request.

The one module of the gateway that touches private members of aiohttp. `tests/packaging/test_private_names.py` lists them, and
pyproject.toml bounds the versions that have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


def fits(resource: Any, path: str) -> bool:
    """Whether the path is one of the resource's. Takes no request: the body of one that was read cannot be asked about another path."""
    return resource._match(path) is not None


def set_body(request: web.Request, body: bytes) -> None:
    """What `request.read` gives from now on."""
    request._read_bytes = body


def set_writer(request: web.Request, writer: AbstractStreamWriter) -> None:
    """Where the response to the request goes, instead of into its connection."""
    request._payload_writer = writer


def with_headers(request: web.Request, headers: Mapping[str, str]) -> web.Request:
    """The same request with other headers, its body unread. aiohttp refuses that of one whose body was read."""
    body, request._read_bytes = request._read_bytes, None
    try:
        return request.clone(headers=headers)
    finally:
        request._read_bytes = body


def requests_of(app: web.Application, kind: type[web.Request]) -> Any:
    """A server's factory of requests, which makes them of this class."""
    return partial(app._make_request, _cls=kind)
