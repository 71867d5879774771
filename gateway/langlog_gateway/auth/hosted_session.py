"""HTTP to the process of a project's JavaScript, over its Unix sockets."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

HEADER_BYTES_MAX = 1024 * 1024
"""Maximum size of one header of a response."""


class HostedSession:
    """A session with the process that is there now: each process has sockets of its own. Used on one event loop."""

    def __init__(self, socket: Callable[[], str], limit_s: float | None) -> None:
        """``socket``: path of the socket now, empty while there is no process; ``limit_s``: seconds for one request."""
        self._socket = socket
        self._limit_s = limit_s
        self._path = ""
        self._session: aiohttp.ClientSession | None = None

    async def get(self) -> aiohttp.ClientSession:
        """Return the session. Raises aiohttp.ClientConnectionError while there is no process."""
        path = self._socket()
        if path != self._path or self._session is None:
            await self.close()
        if not path:
            raise aiohttp.ClientConnectionError("there is no process")
        if self._session is None:
            self._path = path
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path, limit=0),
                timeout=aiohttp.ClientTimeout(total=self._limit_s),
                auto_decompress=False,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def close(self) -> None:
        session, self._session, self._path = self._session, None, ""
        if session is not None:
            await session.close()
