"""A server of the LangGraph Server API as a source, by its public endpoints alone (wire contract §2 to §4, §10, §11).

Lists are paged with an overlap, so that objects that are deleted meanwhile do not hide others; duplicates are dropped. A list that
returns nothing new, or more than `Limits` allow, ends the import: no server can make it run without end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import msgspec

from .http import JsonServer, Refused, Unanswered
from .source import Checkpoint, History, Row, Thread, ThreadHead

PAGE, OVERLAP = 100, 10
"""Rows of a page, and those that the next page repeats."""
STEPS_BACK_MAX = 1_000
DEPTH_MAX = 50
"""Maximum nesting of subgraphs."""
SYSTEM = "system"


class Limits(msgspec.Struct, frozen=True):
    """Limits of a source."""

    objects: int = 10_000_000
    """Maximum number of objects of one kind."""
    checkpoints: int = 200_000
    """Maximum number of checkpoints of one thread."""
    history_bytes: int = 4_000_000_000
    """Maximum size of one thread's history, as JSON in a temporary file, in bytes."""


class ApiSource:
    def __init__(self, server: JsonServer, limits: Limits | None = None) -> None:
        self._server, self._limits = server, limits or Limits()
        self.name = server.url

    async def assistants(self) -> AsyncIterator[Row]:
        body = {"sort_by": "created_at", "sort_order": "asc"}
        async for page in self._pages("/assistants/search", body, "assistant_id"):
            for one in page:
                id = one["assistant_id"]
                versions = [
                    version
                    async for some in self._pages(f"/assistants/{_in_path(id)}/versions", {}, "version")
                    for version in some
                ]
                versions.sort(key=lambda version: version["version"])
                yield {
                    "assistant_id": id,
                    "versions": [_version(version) for version in versions],
                    "latest": one.get("version") or len(versions),
                    "created_at": one.get("created_at"),
                    "updated_at": one.get("updated_at"),
                }

    async def count(self, metadata: Row) -> int | None:
        try:
            count = await self._server.call("POST", "/threads/count", {"metadata": metadata} if metadata else {})
        except Refused:  # an older server
            return None
        return count if isinstance(count, int) else None

    async def threads(self, metadata: Row) -> AsyncIterator[list[ThreadHead]]:
        body: Row = {"sort_by": "created_at", "sort_order": "asc", "select": ["thread_id", "updated_at"]}
        if metadata:
            body["metadata"] = metadata
        async for page in self._pages("/threads/search", body, "thread_id"):
            yield [ThreadHead(str(row["thread_id"]), row.get("updated_at")) for row in page]

    async def thread(self, head: ThreadHead) -> Thread:
        row = _object(await self._server.call("GET", f"/threads/{_in_path(head.id)}?include=ttl"), "thread")
        metadata = _object(row.get("metadata") or {}, "metadata")
        status = row.get("status")
        ttl = row.get("ttl") if isinstance(row.get("ttl"), dict) else None
        body: Row = {
            "thread_id": head.id,
            "metadata": metadata,
            "config": row.get("config") or {},
            "created_at": row.get("created_at"),
            "updated_at": row.get("updated_at"),
            "state_updated_at": row.get("state_updated_at"),
            "status": status if status in ("idle", "interrupted", "error") else None,
            "error": row.get("error"),
        }
        if ttl and ttl.get("ttl_minutes") is not None:
            body["ttl"] = {"ttl": ttl["ttl_minutes"], "strategy": ttl.get("strategy") or "delete"}
        graph_id = metadata.get("graph_id")
        return Thread(body, graph_id if isinstance(graph_id, str) else None, busy=status == "busy")

    async def history(self, head: ThreadHead) -> History:
        """Return the history; subgraphs' checkpoints follow the one whose tasks they belong to. Raises TooLarge."""
        history = History("history", self._limits.history_bytes)
        try:
            await self._space(history, head.id, "", 0)
        except BaseException:
            history.close()
            raise
        return history

    async def _space(self, history: History, thread_id: str, namespace: str, depth: int) -> None:
        """Add the checkpoints of one namespace, oldest first, and those of its subgraphs."""
        below = await self._entries(history, thread_id, namespace)
        start = len(history.checkpoints) - len(below)
        own = history.checkpoints[start:][::-1]
        del history.checkpoints[start:]
        visited: set[str] = set()
        for checkpoint, spaces in zip(own, below[::-1], strict=True):
            history.insert([checkpoint])
            for space in spaces:
                if depth < DEPTH_MAX and space not in visited:
                    visited.add(space)
                    await self._space(history, thread_id, space, depth + 1)

    async def _entries(self, history: History, thread_id: str, namespace: str) -> list[list[str]]:
        """Add a namespace's checkpoints, newest first. Returns the namespaces of the tasks of each."""
        below: list[list[str]] = []
        seen: set[str] = set()
        size, before = PAGE, ""
        while True:
            try:
                page = await self._server.call(
                    "POST", f"/threads/{_in_path(thread_id)}/history", _history_body(namespace, before, size)
                )
            except Refused as error:
                if error.status == 413 and size > 1:
                    size = max(1, size // 4)
                    continue
                raise
            if not isinstance(page, list):
                raise Refused(502, f"the source answers the history of {thread_id} with no list")
            fresh = 0
            for entry in page:
                id = _checkpoint_id(entry, thread_id)
                if id in seen:
                    continue
                seen.add(id)
                fresh += 1
                before = id
                below.append(_add(history, entry, id, namespace))
            if len(history.checkpoints) > self._limits.checkpoints:
                raise Refused(502, f"it has more than {self._limits.checkpoints:,} checkpoints")
            if not page or len(page) < size:
                return below
            if not fresh:
                raise Refused(502, f"the source gives the same page of the history of {thread_id} again and again")

    async def items(self) -> AsyncIterator[Row]:
        async for page in self._pages("/store/namespaces", {"max_depth": 1}, None, "namespaces"):
            for namespace in page:
                if not isinstance(namespace, list) or not namespace:
                    raise Unanswered(f"{self.name} answers /store/namespaces with {str(namespace)[:100]}")
                body = {"namespace_prefix": namespace, "refresh_ttl": False}
                async for items in self._pages("/store/items/search", body, "key", "items"):
                    for item in items:
                        yield {
                            name: item.get(name) for name in ("namespace", "key", "value", "created_at", "updated_at")
                        }

    async def crons(self) -> AsyncIterator[Row]:
        members = (
            "cron_id", "assistant_id", "thread_id", "user_id", "schedule", "timezone", "end_time", "payload", "metadata",
            "on_run_completed", "enabled", "created_at", "updated_at",
        )  # fmt: skip
        async for page in self._pages("/runs/crons/search", {}, "cron_id"):
            for cron in page:
                yield {name: cron[name] for name in members if cron.get(name) is not None}

    async def _pages(
        self, path: str, body: Row, id_member: str | None, list_member: str | None = None
    ) -> AsyncIterator[list[Any]]:
        """Yield the rows of a list without duplicates. Raises Unanswered, Refused."""
        key = _key(id_member)
        seen: set[Any] = set()
        offset = back = 0
        while True:
            answer = await self._server.call("POST", path, {**body, "limit": PAGE, "offset": offset})
            rows = answer.get(list_member) if list_member and isinstance(answer, dict) else answer
            if not isinstance(rows, list):
                raise Refused(502, f"{self.name} is no server of this API: POST {path} returned no list")
            try:
                keys = [key(row) for row in rows]
            except (KeyError, TypeError, AttributeError):
                raise Refused(502, f"POST {path} of {self.name} returned a row without {id_member}") from None
            if offset and keys and keys[0] not in seen and back < STEPS_BACK_MAX:
                offset, back = max(0, offset - PAGE), back + 1  # rows before these were deleted meanwhile
                continue
            fresh = [row for row, one in zip(rows, keys, strict=True) if one not in seen]
            seen.update(keys)
            if fresh:
                yield fresh
            if len(rows) < PAGE:
                return
            if not fresh:
                raise Unanswered(f"{self.name} answers POST {path} with the same rows again and again")
            if len(seen) > self._limits.objects:
                raise Unanswered(f"{self.name} answers POST {path} with more than {self._limits.objects:,} rows")
            offset += len(rows) - OVERLAP


def _key(member: str | None) -> Callable[[Any], Any]:
    """Return a function from a row to its id. It raises KeyError and TypeError if the row has none of the right type."""
    if member is None:
        return lambda row: ".".join(row)
    if member == "key":
        return lambda row: (*map(_text, row["namespace"]), _text(row["key"]))
    return lambda row: _number(row[member]) if member == "version" else _text(row[member])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _in_path(id: str) -> str:
    """Return a text as an escaped part of a path."""
    return quote(id, safe="")


def _history_body(namespace: str, before: str, size: int) -> Row:
    """Return the request for a page of a namespace's history. ``before``: id of the last checkpoint of the page before."""
    body: Row = {"limit": size}
    if namespace:
        body["checkpoint"] = {"checkpoint_ns": namespace}
    if before:
        body["before"] = {"configurable": {"checkpoint_id": before, "checkpoint_ns": namespace}}
    return body


def _checkpoint_id(entry: Any, thread_id: str) -> str:
    """Return the id of an entry of a history. Raises Refused if it has none."""
    if isinstance(entry, dict):
        address = entry.get("checkpoint")
        id = address.get("checkpoint_id") if isinstance(address, dict) else None
        if id is None:
            id = entry.get("checkpoint_id")
        if isinstance(id, str) and id:
            return id
    raise Refused(502, f"the source answers the history of {thread_id} with an entry without checkpoint_id")


def _version(row: Row) -> Row:
    names = ("version", "graph_id", "config", "context", "metadata", "name", "description", "created_at")
    return {name: row[name] for name in names if row.get(name) is not None}


def _object(answer: Any, what: str) -> Row:
    if not isinstance(answer, dict):
        raise Refused(502, f"the source answers with no {what}")
    return answer


def _add(history: History, entry: Row, id: str, namespace: str) -> list[str]:
    """Add an entry. Returns the namespaces of its tasks."""
    given = entry.get("tasks")
    tasks = [task for task in given if isinstance(task, dict)] if isinstance(given, list) else []
    parent = entry.get("parent_checkpoint") if isinstance(entry.get("parent_checkpoint"), dict) else None
    parent_id = parent.get("checkpoint_id") if parent else None
    here = {"checkpoint_id": id, "checkpoint_ns": namespace}
    above = None if parent_id is None else {"checkpoint_id": parent_id, "checkpoint_ns": namespace}
    names = ("values", "next", "metadata", "created_at")
    body = {name: entry.get(name) for name in names if entry.get(name) is not None}
    body |= {"checkpoint": here, "parent_checkpoint": above, "tasks": [_task(task) for task in tasks]}
    light = {
        "checkpoint": here,
        "tasks": [{name: task.get(name) for name in ("id", "name", "path")} for task in tasks],
        "next": entry.get("next") or [],
        "known": True,
    }
    history.add(id, parent_id, body, light)
    spaces = []
    for task in tasks:
        place = task.get("checkpoint")
        space = place.get("checkpoint_ns") if isinstance(place, dict) else None
        if isinstance(space, str) and space and space != namespace:
            spaces.append(space)
    return spaces


def _task(task: Row) -> Row:
    names = ("id", "name", "path", "error", "interrupts", "result")
    return {name: task[name] for name in names if task.get(name) is not None}


__all__ = ["ApiSource", "Checkpoint", "Limits"]
