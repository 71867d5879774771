"""Clients without an address: in a project's code, they address the server that runs it.

`langgraph_sdk.get_client()` takes no URL in graphs and in a project's own application on other servers, and the SDK asks
`get_asgi_transport` for a transport into the server's own process. Here the transport is HTTP to a gateway: from graphs to
LANGLOG_BASE_URL, from a gateway to itself. Requests are then like any other client's: streams stream.

Where the project authenticates, requests with no headers but the SDK's own and those of tracing prove that they come from the project's
code (`credentials.loopback_proof`), and nothing authenticates or authorizes them, as on other servers. A header of any other name, such
as ``authorization`` or ``cookie``, means that the caller is to be authenticated by it: the proof is then not sent. It is added to what the
transport sends, not to the client's request, so it goes to this server alone, whatever redirects the client follows.

Concurrency: one transport for the process, on every event loop of it. A client is often made once, where its module is imported,
but connections belong to the loop they were made on: each loop has its own. When a gateway dies, requests fail or
their streams end, and the client handles it as elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import httpx
import structlog

from ..values.tracing_headers import is_tracing_header

logger = structlog.get_logger(__name__)

RETRIES = 5
"""Retries of a failed connection attempt, as in clients with an address."""
CLOSED = (
    "A client without a URL cannot send headers of its own while the server authenticates a caller: its request would be "
    "authenticated in turn, without end"
)
NO_ADDRESS = (
    "A client without a URL reaches this server itself: set LANGLOG_BASE_URL to where its graphs reach a gateway"
)
REFUSED = frozenset({401, 403})
CREDENTIALS = (
    "a request of a client without a URL that has headers of its own is authenticated and authorized by them where the project has "
    "auth; without any, it is the deployment's own and needs no credentials: have all services share one LANGLOG_SECRET"
)

CLIENT_HOST = "api"
"""Host in the addresses of the SDK's clients without an address."""
API_KEYS = ("LANGGRAPH_API_KEY", "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")
"""Variables of which the SDK sends the first that is set as ``x-api-key``."""
OF_SDK = frozenset(
    {
        *("accept", "accept-encoding", "connection", "host", "user-agent"),
        *("content-length", "content-type", "transfer-encoding", "cache-control", "last-event-id"),
    }
)
"""Headers that httpx and the SDK add to requests of a client that was given none; those of tracing are in `values.tracing_headers`."""

CLIENT_MODULES = ("langgraph_sdk._async.client", "langgraph_sdk.client")
"""Modules in which the SDK opens clients without an address: since 0.3.6, and before."""


DEFERRED = "__LANGGRAPH_DEFER_LOOPBACK_TRANSPORT"
"""Variable by which a server tells the SDK not to import ``langgraph_api`` for a client without an address."""
OTHER_SERVER = "langgraph_api"
"""LangGraph's own server, which ``langgraph-cli[inmem]`` installs beside many projects. The SDK looks for it when it is imported."""


def import_sdk(name: str) -> Any:
    """Import a module of the SDK that must not import LangGraph's own server, which configures the whole process, and raises
    where its settings are missing. Returns the module. Raises ImportError for one that this SDK does not have."""
    if name not in sys.modules and OTHER_SERVER not in sys.modules:
        sys.modules[OTHER_SERVER] = None  # type: ignore[assignment]  # how Python is told that there is no such module
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules[OTHER_SERVER]  # the project's own code may import it
    return importlib.import_module(name)


class Loopback(httpx.AsyncBaseTransport):
    def __init__(
        self,
        base_url: str,
        prefix: str = "",
        proof: Callable[[], Mapping[str, str]] = dict,
        closed: ContextVar[bool] | None = None,
    ) -> None:
        """``prefix``: path prefix of the server's routes. ``proof``: returns the header that proves where a request comes from;
        nothing as long as it is not known. ``closed``: where it is true nothing is sent without the proof."""
        self._server = httpx.URL(base_url) if base_url else None
        self._secure = self._server is not None and self._server.scheme == "https"
        self._prefix = prefix.encode()
        self._proof = proof
        self._closed = closed
        self._of_loop: dict[asyncio.AbstractEventLoop, httpx.AsyncHTTPTransport] = {}
        self._lock = threading.Lock()
        self._warned = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the server. Raises httpx.ConnectError also if no address is configured or the loopback is closed."""
        proves = has_no_credentials(request) and bool(self._proof())
        if not proves and self._closed is not None and self._closed.get():
            raise httpx.ConnectError(CLOSED, request=request)
        if self._server is None:
            raise httpx.ConnectError(NO_ADDRESS, request=request)
        url = self._server.copy_with(raw_path=self._prefix + request.url.raw_path)
        headers = request.headers.copy()
        headers["host"] = url.netloc.decode()
        sent = httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)
        if proves:
            sent.headers.update(self._proof())  # in no variable: tools that report errors send those along
        response = await self._transport().handle_async_request(sent)
        if response.status_code in REFUSED and not self._warned:
            self._warned = True  # one line: code that calls without credentials does so at each run
            logger.warning("loopback.refused", status=response.status_code, path=url.path, hint=CREDENTIALS)
        return response

    async def aclose(self) -> None:
        """Do nothing: other clients use the same connections."""

    def _transport(self) -> httpx.AsyncHTTPTransport:
        loop = asyncio.get_running_loop()
        transport = self._of_loop.get(loop)
        if transport is None:
            transport = httpx.AsyncHTTPTransport(verify=self._secure, retries=RETRIES)
            with self._lock:
                for ended in [other for other in self._of_loop if other.is_closed()]:
                    del self._of_loop[ended]
                self._of_loop[loop] = transport
        return transport


def has_no_credentials(request: httpx.Request) -> bool:
    """Return whether a request has no headers but those that the SDK sends by itself, and those of tracing."""
    if request.url.host != CLIENT_HOST or request.url.scheme != "http":
        return False  # a redirect led elsewhere
    return all(
        value == _api_key() if name == "x-api-key" else name in OF_SDK or is_tracing_header(name)
        for name, value in request.headers.multi_items()
    )


def _api_key() -> str | None:
    """Return the key that the SDK takes from the variables."""
    keys = (os.environ.get(name) for name in API_KEYS)
    return next((key.strip().strip('"').strip("'") for key in keys if key), None)


def open_loopback(
    base_url: str,
    prefix: str,
    proof: Callable[[], Mapping[str, str]] = dict,
    closed: ContextVar[bool] | None = None,
) -> None:
    """Make clients without an address connect to that server. Call it before the project's code is loaded.

    The arguments are those of `Loopback`.
    """
    os.environ[DEFERRED] = "true"
    with contextlib.suppress(ImportError):  # an older SDK, which has no cache
        import_sdk("langgraph_sdk.cache")  # before the project's code does
    way = Loopback(base_url, prefix, proof, closed)

    def make(*_: Any, **__: Any) -> Loopback:
        return way

    for module in CLIENT_MODULES:
        try:
            client: Any = importlib.import_module(module)
        except ImportError:
            continue
        if hasattr(client, "get_asgi_transport"):
            break
    else:
        logger.warning("loopback.unavailable", reason="this langgraph-sdk has no known opening for servers")
        return
    client.get_asgi_transport = lambda: make
