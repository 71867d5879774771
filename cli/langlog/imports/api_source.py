"""A server of the LangGraph Server API as a source, by its public endpoints alone (wire contract §2 to §4, §10, §11).

Lists are paged with an overlap, so that objects that are deleted meanwhile do not hide others; duplicates are dropped. A list that
returns nothing new, or more than `Limits` allow, ends the import: no server can make it run without end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from .http import NOT_OFFERED, JsonServer, Refused, Unanswered
from .source import Checkpoint, History, Row, Thread, ThreadHead

PAGE, OVERLAP = 100, 10
"""Rows of a page, and those that the next page repeats."""
SMALLEST = 10
"""Rows of a page of a source that refuses larger ones."""
OPTIONAL = frozenset(("sort_by", "sort_order", "select", "refresh_ttl"))
"""Members of a search that a source of an older version may refuse."""
TOO_MUCH = (400, 413, 422)
"""Statuses by which a source refuses a member of a request, or the size of a page."""
ONE_VERSION = "the source does not show its versions: the present one is imported as version 1"
WHOLE = 1_000
"""Checkpoints of a history that are requested at once from a source that cannot begin before a checkpoint."""
NO_BEFORE = (400, 422, 500)
"""Statuses by which such a source answers."""
LATEST = "it has more checkpoints than the source shows, which are its latest"
NO_SUBGRAPHS = "the source does not show the checkpoints of its subgraphs"
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


class _Place(msgspec.Struct):
    """How the next page of a history is requested."""

    size: int = PAGE
    before: str = ""
    """Id of the last checkpoint of the page before."""
    whole: bool = False
    """Whether the source cannot begin before a checkpoint, so that it shows all at once."""

    def changed(self, status: int) -> bool:
        """Change to another way after a refusal. Returns whether there is one."""
        if self.before and not self.whole and status in NO_BEFORE:
            self.size, self.before, self.whole = WHOLE, "", True
            return True
        smallest = 1 if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE else SMALLEST
        if status not in TOO_MUCH or self.size <= smallest:
            return False
        self.size = max(smallest, self.size // 4)
        return True


class ApiSource:
    def __init__(self, server: JsonServer, limits: Limits | None = None) -> None:
        self._server, self._limits = server, limits or Limits()
        self.name = server.url

    def assistants(self) -> AsyncIterator[list[Row]]:
        body = {"sort_by": "created_at", "sort_order": "asc"}
        return self._pages("/assistants/search", body, "assistant_id")

    async def assistant(self, listed: Row) -> tuple[Row, list[str]]:
        id, notes = listed["assistant_id"], []
        try:
            path = f"/assistants/{_in_path(id)}/versions"
            versions = [version async for some in self._pages(path, {}, "version") for version in some]
        except Refused as error:
            if error.status not in NOT_OFFERED:
                raise
            versions, listed = [{**listed, "version": 1}], {**listed, "version": 1}
            notes = [ONE_VERSION]
        versions.sort(key=lambda version: version["version"])
        body = {
            "assistant_id": id,
            "versions": [_version(version) for version in versions],
            "latest": listed.get("version") or len(versions),
            "created_at": _time(listed.get("created_at")),
            "updated_at": _time(listed.get("updated_at")),
        }
        return body, notes

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
            "created_at": _time(row.get("created_at")),
            "updated_at": _time(row.get("updated_at")),
            "state_updated_at": _time(row.get("state_updated_at")),
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
                    await self._subgraph(history, thread_id, space, depth + 1)

    async def _subgraph(self, history: History, thread_id: str, namespace: str, depth: int) -> None:
        """As `_space`; a source that does not show this subgraph costs the thread no other checkpoint."""
        number = len(history.checkpoints)
        try:
            await self._space(history, thread_id, namespace, depth)
        except Refused as error:
            if len(history.checkpoints) > self._limits.checkpoints:
                raise
            del history.checkpoints[number:]
            history.notes.append(f"checkpoints of the subgraph {namespace} cannot be read: {error}")

    async def _entries(self, history: History, thread_id: str, namespace: str) -> list[list[str]]:
        """Add a namespace's checkpoints, newest first. Returns the namespaces of the tasks of each."""
        below: list[list[str]] = []
        seen: set[str] = set()
        at = _Place()
        while True:
            page = await self._page(thread_id, namespace, at)
            if not seen and page and _namespace(page[0], namespace) != namespace:
                history.notes.append(NO_SUBGRAPHS)  # it answers with those of the graph
                return below
            fresh = 0
            for entry in page:
                id = _checkpoint_id(entry, thread_id)
                if id in seen:
                    continue
                seen.add(id)
                fresh += 1
                at.before = id
                below.append(_add(history, entry, id, namespace))
            if len(history.checkpoints) > self._limits.checkpoints:
                raise Refused(502, f"it has more than {self._limits.checkpoints:,} checkpoints")
            full = len(page) >= at.size
            if at.whole and full:
                history.notes.append(LATEST)
            if not page or at.whole or (not full and history.checkpoints[-1].parent_id is None):
                return below
            if not fresh and full and at.size > 1:
                raise Refused(502, f"the source gives the same page of the history of {thread_id} again and again")
            if not fresh:  # all that is before it was removed, or the source does not page
                return below

    async def _page(self, thread_id: str, namespace: str, at: _Place) -> list[Any]:
        """Return a page of a history, in the way that the source takes."""
        path = f"/threads/{_in_path(thread_id)}/history"
        while True:
            try:
                page = await self._server.call("POST", path, _history_body(namespace, at.before, at.size))
            except Refused as error:
                if not at.changed(error.status):
                    raise
                continue
            if not isinstance(page, list):
                raise Refused(502, f"the source answers the history of {thread_id} with no list")
            return page

    async def items(self) -> AsyncIterator[Row]:
        refused: Refused | None = None
        async for namespace in self._namespaces():
            body = {"namespace_prefix": namespace, "refresh_ttl": False}
            try:
                async for items in self._pages("/store/items/search", body, "key", "items"):
                    for item in items:
                        yield {
                            "namespace": item["namespace"],
                            "key": item["key"],
                            "value": item.get("value"),
                            "created_at": _time(item.get("created_at")),
                            "updated_at": _time(item.get("updated_at")),
                        }
            except Refused as error:  # those of other namespaces can be read all the same
                refused = refused or error
        if refused is not None:
            raise refused

    async def _namespaces(self) -> AsyncIterator[list[str]]:
        """Yield the first parts of all namespaces; the empty one of a source that does not list them."""
        try:
            async for page in self._pages("/store/namespaces", {"max_depth": 1}, None, "namespaces"):
                for namespace in page:
                    if not isinstance(namespace, list) or not namespace:
                        raise Unanswered(f"{self.name} answers /store/namespaces with {str(namespace)[:100]}")
                    yield namespace
        except Refused as error:
            if error.status not in NOT_OFFERED:
                raise
            yield []

    async def crons(self) -> AsyncIterator[Row]:
        members = (
            "cron_id", "assistant_id", "thread_id", "user_id", "schedule", "timezone", "end_time", "payload", "metadata",
            "on_run_completed", "enabled", "created_at", "updated_at",
        )  # fmt: skip
        async for page in self._pages("/runs/crons/search", {}, "cron_id"):
            for cron in page:
                given = {name: cron[name] for name in members if cron.get(name) is not None}
                yield given | {name: _time(given[name]) for name in ("created_at", "updated_at") if name in given}

    async def _pages(
        self, path: str, body: Row, id_member: str | None, list_member: str | None = None
    ) -> AsyncIterator[list[Any]]:
        """Yield the rows of a list without duplicates, until a page shows no new ones: a source may have smaller pages than
        the requested ones. Raises Unanswered, Refused."""
        key = _key(id_member)
        seen: set[Any] = set()
        offset = back = overlap = 0
        size = PAGE
        while True:
            try:
                answer = await self._server.call("POST", path, {**body, "limit": size, "offset": offset})
            except Refused as error:
                if error.status in TOO_MUCH and body.keys() & OPTIONAL:
                    body = {name: value for name, value in body.items() if name not in OPTIONAL}
                elif error.status in TOO_MUCH and size > SMALLEST:
                    size = max(SMALLEST, size // 4)
                else:
                    raise
                continue
            rows = answer.get(list_member) if list_member and isinstance(answer, dict) else answer
            if not isinstance(rows, list):
                raise Refused(502, f"{self.name} is no server of this API: POST {path} returned no list")
            try:
                keys = [key(row) for row in rows]
            except (KeyError, TypeError, AttributeError):
                raise Refused(502, f"POST {path} of {self.name} returned a row without {id_member}") from None
            if overlap and keys and keys[0] not in seen and back < STEPS_BACK_MAX:
                offset, back = max(0, offset - size), back + 1  # rows before these were deleted meanwhile
                overlap = min(overlap, offset)
                continue
            fresh = [row for row, one in zip(rows, keys, strict=True) if one not in seen]
            seen.update(keys)
            if fresh:
                yield fresh
            elif len(rows) == size:
                raise Unanswered(f"{self.name} answers POST {path} with the same rows again and again")
            else:
                return
            if len(seen) > self._limits.objects:
                raise Unanswered(f"{self.name} answers POST {path} with more than {self._limits.objects:,} rows")
            overlap = min(OVERLAP, len(rows) // 2)
            offset += len(rows) - overlap


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


def _namespace(entry: Any, default: str) -> str:
    """Return the namespace that an entry of a history names, or ``default``."""
    address = entry.get("checkpoint")
    named = address.get("checkpoint_ns") if isinstance(address, dict) else None
    return named if isinstance(named, str) else default


def _version(row: Row) -> Row:
    names = ("version", "graph_id", "config", "context", "metadata", "name", "description")
    version = {name: row[name] for name in names if row.get(name) is not None}
    return {**version, "created_at": _time(row.get("created_at"))}


def _time(given: Any) -> Any:
    """Return a time with its offset; UTC for one that a source shows without."""
    try:
        moment = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        return given
    return given if moment.tzinfo is not None else moment.replace(tzinfo=UTC).isoformat()


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
    if "created_at" in body:
        body["created_at"] = _time(body["created_at"])
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
