"""``POST /internal/truncate``: deletes all objects of clients, for test suites that start empty.

Only `langlog dev` has the route, without authentication of the project's own and without LANGLOG_PRODUCTION. Objects are
deleted by commands, as by their own routes: the log keeps the events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.postgres.database import load_sql
from langlog_schemas import commands as cmd

from ..core import Core, json_response
from ..http.validation import read_body

SQL = load_sql("langlog_gateway", "truncation.sql")
PAGE = 500


class Truncate(msgspec.Struct):
    """Kinds of objects to delete. Threads are deleted with their runs and checkpoints."""

    runs: bool = False
    threads: bool = False
    assistants: bool = False
    checkpointer: bool = False
    store: bool = False


_decoder = msgspec.json.Decoder(Truncate)


class Truncation:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/internal/truncate", self.truncate)]

    async def truncate(self, request: web.Request) -> web.Response:
        body = await read_body(request, _decoder)
        if body.threads:
            await self._each("threads", lambda row: cmd.DeleteThread(thread_id=row["thread_id"]))
        if body.runs and not body.threads:
            await self._each("runs", lambda row: cmd.DeleteRun(thread_id=row["thread_id"], run_id=row["run_id"]))
        if body.checkpointer and not body.threads:
            await self._each("threads", lambda row: cmd.DeleteCheckpoints(thread_id=row["thread_id"]))
        if body.assistants:
            await self._each("assistants", lambda row: cmd.DeleteAssistant(assistant_id=row["assistant_id"]))
        if body.store:
            await self._empty_store()
        return json_response(b'{"ok":true}')

    async def _each(self, name: str, command: Callable[[Any], cmd.Body]) -> None:
        """Execute a command for each row; one that is refused, because the object is in use or gone, is left."""
        async for rows in self._pages(name):
            await self._core.commands.execute_all([command(row) for row in rows], what="truncation")

    async def _pages(self, name: str) -> AsyncIterator[list[Any]]:
        last = ""
        while rows := await self._core.reads.rows(SQL[name], last, PAGE):
            yield rows
            last = rows[-1][0]

    async def _empty_store(self) -> None:
        """Delete each item once: a write that is refused or parked must not be repeated without end."""
        last: tuple[list[str], str] = ([], "")
        while rows := await self._core.reads.rows(SQL["store_items"], *last, PAGE):
            last = rows[-1]["namespace"], rows[-1]["key"]
            keys: dict[tuple[str, ...], list[str]] = {}
            for row in rows:
                keys.setdefault(tuple(row["namespace"]), []).append(row["key"])
            commands = [
                cmd.WriteStore(namespace=list(namespace), ops=[cmd.StoreOp(key=key) for key in keys_of])
                for namespace, keys_of in keys.items()
            ]
            await self._core.commands.execute_all(commands, what="truncation")
