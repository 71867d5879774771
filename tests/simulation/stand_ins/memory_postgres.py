"""Postgres in memory: tables as dictionaries of rows, and one Python function for each statement of langlog that worlds use (`statements`).

What stands in is asyncpg's pool and its connections; langlog's own `Pool`, and every line that calls a statement, is real. Statements are
known by their texts in the ``.sql`` files: one that is not known, or whose text has gone, is an error and never an empty answer.

Isolation: transactions that write take turns; others meanwhile read what is committed. Commits are remembered for a while and can be
lost from the end, as by a crash without synchronous commits or a failover to a replica that lags (`PostgresServer.lose_commits`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import asyncpg

from ..loop import Node
from ..network import Network, Wire

Key = tuple[Any, ...]
Table = dict[Key, dict[str, Any]]
COMMITS_KEPT = 400
LIMIT_S = 60.0
"""A statement without an answer for this long ends its connection, as TCP does in the end."""


class Row:
    """Reads as asyncpg's records do."""

    __slots__ = ("_members",)

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members

    def __getitem__(self, name: str | int) -> Any:
        return self._members[name] if isinstance(name, str) else list(self._members.values())[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def get(self, name: str, default: Any = None) -> Any:
        return self._members.get(name, default)

    def keys(self) -> Iterable[str]:
        return self._members.keys()

    def values(self) -> Iterable[Any]:
        return self._members.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._members.items()


class Tables:
    """The data, with what it takes to undo."""

    NAMES = (
        "positions", "graphs", "assistants", "assistant_versions", "threads", "runs", "webhooks", "checkpoints", "checkpoint_blobs",
        "checkpoint_writes", "checkpoint_parts", "frames", "thread_events", "crons", "outcomes", "dead_letters",
    )  # fmt: skip

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {name: {} for name in self.NAMES}
        self.undo: list[tuple[str, Key, dict[str, Any] | None]] = []
        """Rows that the open transaction has replaced."""

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]

    def put(self, name: str, key: Key, row: dict[str, Any]) -> None:
        table = self.tables[name]
        self.undo.append((name, key, table.get(key)))
        table[key] = row

    def remove(self, name: str, keys: Iterable[Key]) -> int:
        table, count = self.tables[name], 0
        for key in list(keys):
            row = table.pop(key, None)
            if row is not None:
                self.undo.append((name, key, row))
                count += 1
        return count

    def roll_back(
        self, undo: list[tuple[str, Key, dict[str, Any] | None]]
    ) -> list[tuple[str, Key, dict[str, Any] | None]]:
        """Return the changes that would do it again."""
        again = []
        for name, key, row in reversed(undo):
            table = self.tables[name]
            again.append((name, key, table.get(key)))
            if row is None:
                table.pop(key, None)
            else:
                table[key] = row
        return again

    def same_as(self, other: Tables, without: Sequence[str] = ()) -> str:
        """Return the first difference; empty: none."""
        for name in self.NAMES:
            ours, theirs = self.tables[name], other.tables[name]
            if name in without or ours == theirs:
                continue
            for key in sorted(ours.keys() | theirs.keys(), key=repr):
                left, right = ours.get(key), theirs.get(key)
                if left != right:
                    if left is None or right is None:
                        return f"{name}{key}: {left!r} and {right!r}"
                    columns = {c: (left[c], right[c]) for c in left if left[c] != right.get(c)}
                    return f"{name}{key}: {columns!r}"
        return ""


Statement = Callable[..., Any]
WRITES = "writes"


class PostgresServer:
    def __init__(self, clock: Callable[[], float], statements: dict[str, tuple[Statement, bool]]) -> None:
        self.clock = clock
        self.tables = Tables()
        self.statements = statements
        self.sessions: dict[Session, None] = {}
        self.commits: list[list[tuple[str, Key, dict[str, Any] | None]]] = []
        self.writer: Session | None = None
        self.waiting: list[Session] = []
        self.on_commit: list[Callable[[list[tuple[str, Key, dict[str, Any] | None]]], None]] = []
        self.count = 0

    def lose_commits(self, count: int) -> int:
        """The last ones never happened. How many were lost."""
        lost = self.commits[-count:] if count else []
        for undo in reversed(lost):
            self.tables.roll_back(undo)
        del self.commits[len(self.commits) - len(lost) :]
        return len(lost)

    def committed_tables(self, names: Sequence[str] = Tables.NAMES) -> Tables:
        """A copy of these without what an open transaction has written."""
        copy = Tables()
        again = self.tables.roll_back(self.writer._undo) if self.writer is not None else []
        copy.tables = {name: dict(self.tables[name]) for name in names}
        self.tables.roll_back(again)
        return copy

    def end_sessions(self) -> None:
        for session in list(self.sessions):
            session.hang_up()

    def committed(self, undo: list[tuple[str, Key, dict[str, Any] | None]]) -> None:
        if undo:
            self.commits.append(undo)
            if len(self.commits) > COMMITS_KEPT:
                del self.commits[0]
            for callback in self.on_commit:
                callback(undo)

    def freed(self) -> None:
        self.writer = None
        waiting, self.waiting = self.waiting, []
        for session in waiting:
            session.go_on()


class Session:
    """One connection, at the server."""

    def __init__(self, server: PostgresServer, connection: MemoryConnection) -> None:
        self.server, self.connection = server, connection
        self.in_transaction = False
        self._undo: list[tuple[str, Key, dict[str, Any] | None]] = []
        self._queue: list[tuple[Any, ...]] = []
        server.sessions[self] = None

    def receive(self, answer: asyncio.Future[Any], what: str, *arguments: Any) -> None:
        if self not in self.server.sessions:
            return
        self._queue.append((answer, what, arguments))
        if len(self._queue) == 1:
            self.go_on()

    def go_on(self) -> None:
        while self._queue and self in self.server.sessions:
            answer, what, arguments = self._queue[0]
            try:
                result = self._act(what, arguments)
            except _Waits:
                self.server.waiting.append(self)
                return
            except Exception as error:
                self._queue.pop(0)
                self.connection.wire.reply(_fail, answer, error)
                continue
            self._queue.pop(0)
            self.connection.wire.reply(_settle, answer, result)

    def _act(self, what: str, arguments: tuple[Any, ...]) -> Any:
        server = self.server
        match what:
            case "begin":
                self.in_transaction = True
                return None
            case "commit" | "rollback":
                undo, self._undo = self._undo, []
                self.in_transaction = False
                if what == "rollback":
                    server.tables.roll_back(undo)
                else:
                    server.committed(undo)
                if server.writer is self:
                    server.freed()
                return None
        act, writes = server.statements.get(arguments[0], (None, False))
        if act is None:
            raise NotImplementedError(f"the Postgres in memory has no statement: {arguments[0][:300]}")
        server.count += 1
        foreign = server.writer if server.writer is not self else None
        if foreign is not None and writes:
            raise _Waits
        if foreign is not None:
            again = server.tables.roll_back(foreign._undo)
            try:
                return act(server, *arguments[1:])
            finally:
                server.tables.roll_back(again)
        server.tables.undo = self._undo
        if not writes:
            return act(server, *arguments[1:])
        if self.in_transaction:
            server.writer = self
            return act(server, *arguments[1:])
        try:
            result = act(server, *arguments[1:])
        except Exception:
            server.tables.roll_back(self._undo)
            self._undo = []
            raise
        undo, self._undo = self._undo, []
        server.committed(undo)
        return result

    def close(self) -> None:
        """The client is gone: what it had not committed goes."""
        server = self.server
        if self not in server.sessions:
            return
        del server.sessions[self]
        self._queue.clear()
        if self in server.waiting:
            server.waiting.remove(self)
        if self.in_transaction:
            server.tables.roll_back(self._undo)
            self._undo = []
        if server.writer is self:
            server.freed()

    def hang_up(self) -> None:
        self.close()
        self.connection.wire.reply(self.connection.lost)


class _Waits(Exception):
    pass


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)


class MemoryConnection:
    """As asyncpg's, in what langlog uses of it."""

    def __init__(self, net: Network, wire: Wire, server: PostgresServer) -> None:
        self.net, self.wire = net, wire
        self._server = server
        self._session: Session | None = None
        self._closed = False
        self._under_way: dict[asyncio.Future[Any], None] = {}
        self._listeners: list[Callable[[Any], None]] = []

    def open(self) -> None:
        """At the server."""
        self._session = Session(self._server, self)

    def is_closed(self) -> bool:
        return self._closed

    def add_termination_listener(self, listener: Callable[[Any], None]) -> None:
        self._listeners.append(listener)

    def terminate(self) -> None:
        if not self._closed and self._session is not None:
            self.wire.send(self._session.close)
        self.lost()

    def lost(self) -> None:
        if self._closed:
            return
        self._closed = True
        for answer in list(self._under_way):
            _fail(answer, asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
        for listener in self._listeners:
            listener(self)

    async def _request(self, what: str, *arguments: Any) -> Any:
        if self._closed or self._session is None:
            raise asyncpg.InterfaceError("connection is closed")
        answer: asyncio.Future[Any] = self.net.loop.create_future()
        self._under_way[answer] = None
        self.wire.send(self._session.receive, answer, what, *arguments)
        silence = self.net.loop.call_later(LIMIT_S, self.terminate)
        try:
            return await answer
        finally:
            silence.cancel()
            self._under_way.pop(answer, None)

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        rows = await self._request("run", query, *args)
        return [Row(row) for row in rows]

    async def fetchrow(self, query: str, *args: Any) -> Row | None:
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *args: Any) -> Any:
        row = await self.fetchrow(query, *args)
        return None if row is None else row[0]

    async def execute(self, query: str, *args: Any) -> str:
        return f"DONE {await self._request('run', query, *args)}"

    async def executemany(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            await self._request("run", query, *row)

    def transaction(self, **_: Any) -> _Transaction:
        return _Transaction(self)


class _Transaction:
    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        await self._connection._request("begin")

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._connection.is_closed() and error is not None:
            return
        await self._connection._request("commit" if error is None else "rollback")


class MemoryPool:
    """As asyncpg's pool. ``opened``: called with each new connection, as its ``init``."""

    def __init__(
        self, net: Network, node: Node, server: PostgresServer, size: int, opened: Callable[[Any], Any] | None
    ) -> None:
        self._net, self._node, self._server, self._size = net, node, server, size
        self._opened = opened
        self._room = asyncio.Semaphore(size)
        self._free: list[MemoryConnection] = []
        self._all: dict[MemoryConnection, None] = {}
        self._closing = False

    def get_max_size(self) -> int:
        return self._size

    async def _connect(self) -> MemoryConnection:
        wire = Wire(self._net, self._node, self._net.server("postgres"))
        connection = MemoryConnection(self._net, wire, self._server)
        answer: asyncio.Future[bool] = self._net.loop.create_future()

        def accept() -> None:
            refused = wire.server.down
            if not refused:
                connection.open()
            wire.reply(_settle, answer, refused)

        wire.send(accept)
        async with asyncio.timeout(10.0):
            if await answer:
                raise ConnectionRefusedError("connection refused")
        self._all[connection] = None
        if self._opened is not None:
            try:
                await self._opened(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    def acquire(self, *, timeout: float | None = None) -> _Acquired:
        return _Acquired(self, timeout)

    async def take(self, limit_s: float | None) -> MemoryConnection:
        if self._closing:
            raise asyncpg.InterfaceError("pool is closing")
        async with asyncio.timeout(limit_s):
            await self._room.acquire()
            try:
                while self._free:
                    connection = self._free.pop()
                    if not connection.is_closed():
                        return connection
                    self._all.pop(connection, None)
                return await self._connect()
            except BaseException:
                self._room.release()
                raise

    async def release(self, connection: MemoryConnection, *, timeout: float | None = None) -> None:
        if connection.is_closed():
            self._all.pop(connection, None)
        elif connection._session is not None and connection._under_way:
            connection.terminate()
            self._all.pop(connection, None)
        else:
            self._free.append(connection)
        self._room.release()

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        async with self.acquire() as connection:
            rows: list[Row] = await connection.fetch(query, *args)
            return rows

    async def fetchrow(self, query: str, *args: Any) -> Row | None:
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *args: Any) -> Any:
        row = await self.fetchrow(query, *args)
        return None if row is None else row[0]

    async def execute(self, query: str, *args: Any) -> str:
        async with self.acquire() as connection:
            status: str = await connection.execute(query, *args)
            return status

    async def close(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        self._closing = True
        for connection in list(self._all):
            connection.terminate()


class _Acquired:
    def __init__(self, pool: MemoryPool, limit_s: float | None) -> None:
        self._pool, self._limit_s = pool, limit_s
        self._connection: MemoryConnection | None = None

    def __await__(self) -> Any:
        return self._pool.take(self._limit_s).__await__()

    async def __aenter__(self) -> MemoryConnection:
        self._connection = await self._pool.take(self._limit_s)
        return self._connection

    async def __aexit__(self, *_: Any) -> None:
        assert self._connection is not None
        await self._pool.release(self._connection)
