"""Requests and callers in Starlette's form, for the project's own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

from aiohttp import web
from langlog_backbone.process.service import StartError

from ..http.bodies.reader import receive_body
from .access import User

Scope = dict[str, Any]
Message = MutableMapping[str, Any]


class Caller(Mapping[str, Any]):
    """``ctx.user``, and ``request.user`` of a project's own routes: members by name and by key."""

    def __init__(self, members: User) -> None:
        self._members = members

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._members[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: str) -> Any:
        return self._members[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"Caller({self._members['identity']!r})"


class Credentials(NamedTuple):
    """``request.auth`` of a project's own routes: read by Starlette's ``requires``."""

    scopes: list[str]


def scope_of(request: web.Request, prefix: str) -> Scope:
    """Return the ASGI scope of a request."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    local = request.transport.get_extra_info("sockname") if request.transport is not None else None
    raw = request.raw_path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": f"{request.version.major}.{request.version.minor}",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": raw[0].encode(),
        "query_string": raw[2].encode(),
        "root_path": prefix,
        "headers": _as_unpacked(request),
        "client": tuple(peer[:2]) if isinstance(peer, tuple) else None,
        "server": tuple(local[:2]) if isinstance(local, tuple) else None,
    }


def _as_unpacked(request: web.Request) -> list[tuple[bytes, bytes]]:
    """Return the headers, without those of a compression that the server has undone."""
    headers = [(bytes(name).lower(), bytes(value)) for name, value in request.raw_headers]
    if "content-encoding" not in request.headers:
        return headers
    return [(name, value) for name, value in headers if name not in (b"content-encoding", b"content-length")]


def check_starlette(why: str) -> None:
    """Raise StartError if Starlette is not installed."""
    try:
        import starlette.requests  # noqa: F401
    except ImportError:
        raise StartError(f"{why}: that needs the package starlette") from None


async def starlette_request(request: web.Request) -> Any:
    """Return the request as Starlette's, with its body read."""
    from starlette.requests import Request

    body = await receive_body(request)

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = scope_of(request, "")
    scope["path_params"] = dict(request.match_info)
    return Request(scope, receive)
