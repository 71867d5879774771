"""The gateway's ports to the rest of the system: commands to the log, queries to workers, reads from Postgres.

One of each per process, on its event loop. A reply or answer that Redis lost is requested again (`replies`, `queries`); one that
does not arrive in time is 504, an unreachable log or Postgres 503. The command itself is never lost once appended: only its outcome
may not be received.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import asyncpg
import msgspec
import structlog
from langlog_backbone.log.port import AppendUnknown, Log, LogUnavailable, NewRecord, RecordTooLarge
from langlog_backbone.log.records import encoded_command_record
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process import tracing
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.project.json_handlers import MARK, JsonHandlers
from langlog_backbone.redis.client import RedisPipe
from langlog_backbone.redis.queries import QueryClient, TooManyQueries
from langlog_backbone.redis.replies import ReplyRouter, time_out
from langlog_backbone.time.clock import iso, new_id
from langlog_schemas import commands as cmd
from langlog_schemas import ids, messages
from langlog_schemas.messages import Reply

from . import effect
from .errors import UNHEARD, ApiError, try_again, unavailable, unprocessable

logger = structlog.get_logger(__name__)

SOURCE = "/langlog/gateway"
UNKNOWN = (
    "It is not known whether the request was accepted. Repeat it with the same Idempotency-Key, or look the object up."
)
_SQL = load_sql("langlog_gateway", "outcomes.sql")
TOO_LARGE = (
    "The request makes a record of more than {} bytes, the limit of the log (LANGLOG_MAX_RECORD_BYTES): "
    "send less in one request, or raise the limit"
)
OVERLOADED = "Too many requests wait for a worker"
UNANSWERED = "No worker has answered in time"


class Origin(NamedTuple):
    """The caller of a request, and the key that identifies repetitions."""

    actor: str | None = None
    key: str | None = None
    secret: bytes = b""
    """Secret of the deployment, from which ids of a key are derived."""
    user_id: str = ""
    """Identity of the user for whom runs are made; empty: without a user."""

    def mint(self, what: str) -> str:
        """Return a new id; the same again for a repetition."""
        return new_id() if self.key is None else ids.idempotent_id(self.secret, self.actor, self.key, what)


NOBODY = Origin()


class Commands:
    """Appends commands and waits for their outcome."""

    def __init__(self, log: Log, replies: ReplyRouter, reads: Reads, reply_timeout_s: float) -> None:
        self._log = log
        self._replies = replies
        self._reads = reads
        self._timeout = reply_timeout_s
        self.seal: Callable[[cmd.Body], Awaitable[cmd.Body]] | None = None
        """Seals a command before it is appended, if the project has JSON handlers."""

    @property
    def max_record_bytes(self) -> int:
        """Maximum size of a command, in bytes."""
        return self._log.max_record_bytes

    async def execute(self, command: cmd.Body, origin: Origin = NOBODY, what: str = "command") -> Reply:
        """Append a command and return its outcome. Raises ApiError: a rejection's own status, 413, 503, 504."""
        reply = (await self.execute_all([command], origin, what))[0]
        if reply.status != 200:
            raise ApiError(reply.status, reply.detail or "")
        return reply

    async def execute_all(
        self, commands: Sequence[cmd.Body], origin: Origin = NOBODY, what: str = "command"
    ) -> list[Reply]:
        """Append commands together and return their outcomes, including rejections."""
        if self.seal is not None:
            commands = [await self.seal(command) for command in commands]
        encoded = [(c.TYPE, c.key, cmd.encode(c)) for c in commands]
        return await self.execute_encoded(encoded, origin, what)

    async def execute_encoded(
        self, commands: Sequence[tuple[str, str, bytes]], origin: Origin = NOBODY, what: str = "command"
    ) -> list[Reply]:
        """Like `execute_all`, for encoded commands: (type, key, body)."""
        if not commands:
            return []
        named = [
            (origin.mint(what if len(commands) == 1 else f"{what} {n}"), command) for n, command in enumerate(commands)
        ]
        waiting = {id: self._replies.pending_reply(id) for id, _ in named}
        limit: asyncio.TimerHandle | None = None
        try:
            await self._append([self._record(id, *command, origin) for id, command in named])
            limit = asyncio.get_running_loop().call_later(self._timeout, time_out, waiting.values())
            replies = [messages.decode_reply(await waiting[id]) for id, _ in named]
            return [await self._opened(reply) for reply in replies]
        except TimeoutError:
            if origin.key is not None and (kept := await self._kept([id for id, _ in named])) is not None:
                return kept
            raise ApiError(504, UNHEARD) from None
        finally:
            if limit is not None:
                limit.cancel()
            for id, future in waiting.items():
                self._replies.discard(id, future)

    async def _opened(self, reply: Reply) -> Reply:
        handlers = self._reads.handlers()
        if handlers is None or not reply.body:
            return reply
        return msgspec.structs.replace(reply, body=await handlers.open_json(reply.body))

    async def _kept(self, ids: Sequence[str]) -> list[Reply] | None:
        """Return the outcomes of commands with a key that the read model has stored; None if one is missing."""
        with contextlib.suppress(ApiError):
            rows = {row["command_id"]: row for row in await self._reads.rows(_SQL["kept"], ids)}
            if all(id in rows for id in ids):
                return [_outcome(rows[id]) for id in ids]
        return None

    async def append(self, command: cmd.Body, origin: Origin = NOBODY) -> None:
        """Append without waiting for the outcome."""
        if self.seal is not None:
            command = await self.seal(command)
        await self._append([self._record(new_id(), command.TYPE, command.key, cmd.encode(command), origin, None)])

    def _record(
        self, id: str, type_name: str, key: str, body: bytes, origin: Origin, reply_to: str | None = ""
    ) -> NewRecord:
        _check(type_name, body)
        return encoded_command_record(
            type_name,
            key,
            body,
            id=id,
            source=SOURCE,
            reply_to=self._replies.id if reply_to == "" else reply_to,
            actor=origin.actor,
            retry=origin.key is not None,
            traceparent=tracing.current(),
        )

    async def _append(self, records: list[NewRecord]) -> None:
        before = effect.starts_append()
        try:
            await self._log.append(records)
        except AppendUnknown:
            raise ApiError(504, UNKNOWN) from None
        except LogUnavailable:
            effect.append_refused(before=before)
            raise unavailable("The log") from None
        except RecordTooLarge:
            effect.append_refused(before=before)
            raise ApiError(413, TOO_LARGE.format(self._log.max_record_bytes)) from None


def _outcome(row: Any) -> Reply:
    return Reply(
        command_id=row["command_id"],
        status=row["status"],
        detail=row["detail"],
        type=row["type"],
        body=row["body"].encode(),
        time=iso(row["at"]),
    )


def _check(type_name: str, body: bytes) -> None:
    """Check that the decider can decode the command: an unreadable record would park its key. Raises ApiError 422."""
    try:
        cmd.decode(type_name, body)
    except (msgspec.MsgspecError, RecursionError) as error:
        logger.warning("gateway.command_unreadable", type=type_name, error=str(error))
        raise unprocessable(f"The request cannot be stored: {error}") from None


class Queries:
    """Sends workers queries that need the graph object."""

    def __init__(self, pipe: RedisPipe, replies: ReplyRouter, timeout_s: float) -> None:
        self._client = QueryClient(pipe, replies)
        self._timeout = timeout_s

    async def query(self, kind: str, body: dict[str, Any]) -> bytes:
        """Return the answer's JSON. Raises ApiError: the worker's status, 503 without Redis, 504 without an answer."""
        try:
            answer = await self._client.query(kind, msgspec.json.encode(body), self._timeout)
        except RedisUnavailable:
            raise unavailable("Redis") from None
        except TooManyQueries:
            raise try_again(OVERLOADED) from None
        except TimeoutError:
            raise ApiError(504, UNANSWERED) from None
        if answer.status == 200:
            return answer.body
        if answer.status == 500:
            raise UserCodeError(answer.detail or "")
        raise ApiError(answer.status, answer.detail or "")


class UserCodeError(Exception):
    """Code of the user's graph raised during a query: 500 in plain text, with class and text of what it raised."""


Pause = Callable[[], Awaitable[bool]]
"""Waits before a read is repeated. Returns False: it is not to be repeated."""


async def _give_up() -> bool:
    return False


class Reads:
    """Postgres, for reading. No connection is held beyond one statement.

    ``limit_s``: timeout of a read in seconds, including the wait for a connection; then 503.
    """

    def __init__(self, pool: asyncpg.Pool, limit_s: float) -> None:
        self._pool = pool
        self._limit_s = limit_s
        self.handlers: Callable[[], JsonHandlers | None] = lambda: None
        """Returns the current handlers that decrypt sealed texts of the read model, or None."""
        self.pause: Pause = _give_up
        """Waits before a read is repeated that Postgres was unavailable for."""

    def outlasting(self, pause: Pause) -> Reads:
        """Return reads like these that are repeated after ``pause`` while Postgres is unavailable, until it returns False."""
        patient = copy.copy(self)
        patient.pause = pause
        return patient

    async def row(self, sql: str, *args: Any) -> Any:
        """Return the first row or None, decrypted. Raises ApiError 503, and what a handler of the project raises."""
        row = await self._read(self._pool.fetchrow, sql, args)
        return row if row is None else (await self._opened([row]))[0]

    async def rows(self, sql: str, *args: Any) -> list[Any]:
        """Return all rows, decrypted. Raises ApiError 503, and errors of the project's handlers."""
        return await self._opened(await self.rows_as_stored(sql, *args))

    async def _opened(self, rows: list[Any]) -> list[Any]:
        handlers = self.handlers()
        if handlers is None:
            return rows
        return [await _opened_row(handlers, row) if _has_sealed(row) else row for row in rows]

    async def rows_as_stored(self, sql: str, *args: Any) -> list[Any]:
        """Like `rows`, without decrypting sealed values."""
        rows: list[Any] = await self._read(self._pool.fetch, sql, args)
        return rows

    async def value(self, sql: str, *args: Any) -> Any:
        """Return the first column of the first row, or None, decrypted. Raises the errors of `row`."""
        value = await self._read(self._pool.fetchval, sql, args)
        handlers = self.handlers()
        return await handlers.open_text(value) if handlers is not None and isinstance(value, str) else value

    async def _read(self, fetch: Callable[..., Awaitable[Any]], sql: str, args: Sequence[Any]) -> Any:
        while True:
            try:
                async with asyncio.timeout(self._limit_s):
                    return await fetch(sql, *args)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                if not await self.pause():
                    raise unavailable("Postgres") from error


class OpenedRow:
    """A row of Postgres with decrypted texts; used like the driver's own."""

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members

    def __getitem__(self, name: str | int) -> Any:
        return self._members[name] if isinstance(name, str) else list(self._members.values())[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

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


def _has_sealed(row: Any) -> bool:
    return any(isinstance(value, str) and MARK in value for value in row.values())


async def _opened_row(handlers: JsonHandlers, row: Any) -> OpenedRow:
    return OpenedRow(
        {
            name: await handlers.open_text(value) if isinstance(value, str) and MARK in value else value
            for name, value in row.items()
        }
    )
