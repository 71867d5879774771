"""Health of a service, for orchestrators: a port that answers ``GET /ok`` and ``GET /live``, and a command that queries it.

``GET /metrics`` shows the figures of the process, its worker processes included. ``/ok`` (readiness) is 200 as long as every service of the process makes progress and Postgres, Redis and the log would do their
work, else 503 with the reasons. ``/live`` (liveness) is 200 as long as it is answered: starting the process again does not mend a
server that it depends on. Both run on the services' own event loop, so a process that hangs does not answer at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from langlog_backbone.probe import Probe
    from langlog_backbone.process.service import Service

REQUEST_TIMEOUT_S = 5.0
REQUEST_BYTES = 8192


@click.command(short_help="Check whether a service of this machine is healthy.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="LANGLOG_HEALTH_PORT",
    required=True,
    help="The service's health port.  [LANGLOG_HEALTH_PORT]",
)
@click.option("--host", default="127.0.0.1", show_default=True)
def health(host: str, port: int) -> None:
    """Ask a service of this machine whether it is healthy: exit code 0 if so, 1 if not."""
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=REQUEST_TIMEOUT_S)
    try:
        connection.request("GET", "/ok")
        answer = connection.getresponse()
        text = answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"no answer from {host}:{port}: {error}") from None
    finally:
        connection.close()
    click.echo(text)
    if answer.status != 200:
        raise SystemExit(1)


class HealthService:
    """Serves the health port for the other services of the process."""

    name = "health"

    def __init__(self, services: Sequence[Service], host: str, port: int, probe: Probe | None = None) -> None:
        self._services = services
        self._probe = probe
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        from langlog_backbone.process.service import StartError

        try:
            self._server = await asyncio.start_server(self._answer, self._host, self._port, limit=REQUEST_BYTES)
        except OSError as error:
            raise StartError(f"cannot bind health port {self._host}:{self._port}: {error.strerror}") from None

    async def serve(self) -> None:
        assert self._server is not None
        await self._server.serve_forever()

    async def drain(self) -> None:
        """Do nothing: it responds as long as the process runs."""

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def not_ready(self) -> str | None:
        return None

    async def _reasons(self) -> list[str]:
        """Return the services that make no progress, with reasons; or, if all do, the unavailable servers."""
        reasons = [(service.name, await service.not_ready()) for service in self._services]
        named = [f"{name} ({reason})" for name, reason in reasons if reason is not None]
        if not named and self._probe is not None:
            named = list((await self._probe.failures()).values())
        return named

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from langlog_backbone.metrics.exposition import EXPOSITION

        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                if request.startswith(b"GET /metrics "):
                    ill, well = [], (await EXPOSITION.text()).decode().rstrip()
                else:
                    ill, well = [] if request.startswith(b"GET /live ") else await self._reasons(), "ok"
                status, body = (
                    (b"503 Service Unavailable\r\nretry-after: 1", f"not healthy: {', '.join(ill)}")
                    if ill
                    else (b"200 OK", well)
                )
                data = body.encode() + b"\n"
                writer.write(
                    b"HTTP/1.1 " + status + b"\r\ncontent-type: text/plain\r\ncontent-length: "
                    + str(len(data)).encode() + b"\r\nconnection: close\r\n\r\n" + data
                )  # fmt: skip
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()
