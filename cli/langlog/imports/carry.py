"""Copies a source's objects to a target: existing ones are left out, failures are reported, and the others continue.

Concurrency: `at_once` threads at a time; one request each is under way to source and target. Death: there is no state here. The
target reports the state of each object, so an import that is started again continues where it ended, and never duplicates an object.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from langlog_backbone.time.sources import machine_now

from ..progress import Progress
from .http import NOT_OFFERED, Refused, Unanswered
from .report import Kind, Report
from .source import History, Row, Source, Thread, ThreadHead, TooLarge
from .target import Held, HeldThread, Target

PART_BYTES, PART_CHECKPOINTS = 4_000_000, 200
"""Maximum bytes and checkpoints of a thread's history in one request."""
BATCH, BATCH_BYTES = 100, 4_000_000
"""Maximum objects, and their bytes, in one request."""
ALL: tuple[str, ...] = ("assistants", "threads", "store", "crons")
BUSY = "runs are in flight: it is carried over as of its latest checkpoint, the runs are not"
GONE = "its time to live is over"
MOVED_ON = "it has {} runs here: what was changed at the source since is left there"
OWN = (
    "it has checkpoints here that the source does not have: it was changed here, or the source has removed some since. Delete the thread "
    "here to import it again"
)
FEWER = "the source counts {:,} threads, and its list has {:,}: check what it lists, and start the same import again"
EVERY = "(all)"
"""Id in the report of all objects of a kind."""
PAUSED = "{:,} crons are imported paused: turn them off at the source, then repeat the import with --only crons --enable-crons"


class Selection(msgspec.Struct, frozen=True):
    """The objects to import. ``since``: only threads and items that were changed later."""

    only: tuple[str, ...] = ALL
    metadata: Row = {}
    since: datetime | None = None
    enable_crons: bool = False
    graph: str | None = None
    """Graph of threads without one."""


class Carrying:
    def __init__(
        self, source: Source, target: Target, report: Report, selection: Selection, at_once: int, progress: Progress
    ) -> None:
        self._source, self._target, self._report, self._selection = source, target, report, selection
        self._at_once, self._progress = at_once, progress
        self._done = self._total = 0

    async def run(self) -> None:
        """Import everything. A kind that the source does not show costs no other one. Raises Unanswered if it cannot continue."""
        held = await self._target.held()
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "assistants": lambda: self._assistants(held),
            "threads": self._threads,
            "store": lambda: self._objects("items", self._items()),
            "crons": self._crons,
        }
        kinds = [kind for kind in works if kind in self._selection.only]
        refused: dict[str, Refused] = {}
        for kind in kinds:
            try:
                await works[kind]()
            except Refused as error:
                refused[kind] = error
        if kinds and len(refused) == len(kinds):
            raise refused[kinds[0]]
        for kind, why in refused.items():
            name: Kind = "items" if kind == "store" else kind  # type: ignore[assignment]
            if why.status in NOT_OFFERED:
                self._report.partly(name, EVERY, f"the source shows none ({why})")
            else:
                self._report.lost(name, EVERY, str(why))

    # assistants

    async def _assistants(self, graphs: Held) -> None:
        async for page in self._source.assistants():
            for listed in page:
                try:
                    await self._assistant(listed, graphs.graphs)
                except Refused as error:
                    self._report.lost("assistants", listed["assistant_id"], str(error))

    async def _assistant(self, listed: Row, graphs: list[str]) -> None:
        id = listed["assistant_id"]
        one, notes = await self._source.assistant(listed)
        unknown = sorted({str(v.get("graph_id")) for v in one["versions"]} - set(graphs))
        if unknown:
            self._report.lost("assistants", id, _no_graph(unknown[0], graphs))
            return
        for note in notes:
            self._report.partly("assistants", id, note)
        held = (await self._target.held(assistants=[id])).assistants.get(id)
        if self._report.dry:
            same = held is not None and len(held.versions) >= len(one["versions"]) and held.latest == one["latest"]
            self._report.count("assistants", "unchanged" if same else "imported")
            return
        await self._send("assistants", "assistants", [one], [id])

    # threads

    async def _threads(self) -> None:
        count = await self._source.count(self._selection.metadata)
        self._total += count or 0
        free = asyncio.Semaphore(self._at_once)
        refused: Refused | None = None
        number = 0
        async with asyncio.TaskGroup() as group:
            try:
                async for page in self._source.threads(self._selection.metadata):
                    number += len(page)
                    for heads in _groups(page, BATCH):
                        held = await self._target.held(threads=[head.id for head in heads])
                        for head in heads:
                            await free.acquire()
                            task = group.create_task(self._one(head, held))
                            task.add_done_callback(lambda _: free.release())
            except Refused as error:  # of the list: what it has shown is imported
                refused = error
        if refused is not None:
            raise refused
        if count is not None and number < count:
            self._report.remarks.append(FEWER.format(count, number))

    async def _one(self, head: ThreadHead, held: Held) -> None:
        try:
            await self._thread(head, held.threads.get(head.id), held.graphs)
        except (Refused, TooLarge) as error:
            self._report.lost("threads", head.original_id or head.id, str(error))
        self._advance()

    async def _thread(self, head: ThreadHead, held: HeldThread | None, graphs: list[str]) -> None:
        report, id = self._report, head.original_id or head.id
        changed = _moment(head.updated_at)
        since = self._selection.since
        if since is not None and changed is not None and changed < since:
            return
        if held is not None and changed is not None and _moment(held.updated_at) == changed:
            report.count("threads", "unchanged")
            return
        thread = await self._source.thread(head)
        if _expired(thread.body):
            report.lost("threads", id, GONE)
            return
        with await self._source.history(head) as history:
            graph_id = thread.graph_id or self._selection.graph
            if graph_id is None and len(graphs) == 1:
                graph_id = graphs[0]
            if history.kind == "rows":
                thread.body["metadata"]["graph_id"] = graph_id
            if history.checkpoints and graph_id not in graphs:
                report.lost("threads", id, _no_graph(graph_id, graphs))
                return
            if held is not None and self._stays(id, held, history):
                return
            for note in history.notes:
                report.partly("threads", id, note)
            if thread.busy:
                report.partly("threads", id, BUSY)
            known = set(held.checkpoints) if held is not None else set()
            if await self._history(head, thread, graph_id, history, known):
                report.count("threads", "imported")

    def _stays(self, id: str, held: HeldThread, history: History) -> bool:
        """Return whether a thread is left as it is here; if so, count it."""
        there, here = {one.id for one in history}, {*held.checkpoints}
        if held.runs and there <= here:
            self._report.count("threads", "unchanged")
        elif held.runs:
            self._report.lost("threads", id, MOVED_ON.format(held.runs))
        elif not here <= there:
            self._report.lost("threads", id, OWN)
        else:
            return False
        return True

    async def _history(
        self, head: ThreadHead, thread: Thread, graph_id: str | None, history: History, known: set[str]
    ) -> bool:
        """Send the checkpoints that the target does not have. Return False if it refused them."""
        report, id = self._report, head.original_id or head.id
        new = sum(one.id not in known for one in history)
        if report.dry:
            report.count("checkpoints", "imported", new)
            report.count("checkpoints", "unchanged", len(history.checkpoints) - new)
            return True
        body = {**thread.body, "graph_id": graph_id}
        for part, last in _parts(history, known):
            sent = {**body, history.kind: part, "complete": last}
            outcome = (await self._target.take("threads", [sent]))[0]
            for note in outcome.notes:
                report.partly("threads", id, note)
            if outcome.outcome == "refused":
                report.lost("threads", id, outcome.detail or "it was refused")
                return False
        report.count("checkpoints", "imported", new)
        report.count("checkpoints", "unchanged", len(history.checkpoints) - new)
        return True

    # the store, crons

    async def _items(self) -> AsyncIterator[tuple[str, Row]]:
        since = self._selection.since
        async for item in self._source.items():
            changed = _moment(item.get("updated_at"))
            if since is None or changed is None or changed >= since:
                yield ".".join([*item["namespace"], item["key"]]), item

    async def _crons(self) -> None:
        paused: list[str] = []
        await self._objects("crons", self._all_crons(paused))
        if paused and not self._report.dry:
            self._report.remarks.append(PAUSED.format(len(paused)))

    async def _all_crons(self, paused: list[str]) -> AsyncIterator[tuple[str, Row]]:
        async for cron in self._source.crons():
            runs = bool(cron.get("enabled", True))
            enabled = runs and self._selection.enable_crons
            if runs and not enabled:
                paused.append(cron["cron_id"])
            yield cron["cron_id"], {**cron, "enabled": enabled}

    async def _objects(self, kind: Kind, objects: AsyncIterator[tuple[str, Row]]) -> None:
        batch: list[Row] = []
        ids: list[str] = []
        size = 0
        refused: Refused | None = None
        try:
            async for id, body in objects:
                batch.append(body)
                ids.append(id)
                size += len(msgspec.json.encode(body))
                if len(batch) >= BATCH or size >= BATCH_BYTES:
                    await self._send(kind, kind, batch, ids)
                    batch, ids, size = [], [], 0
        except Refused as error:  # of the list: what it has shown is imported
            refused = error
        if batch:
            await self._send(kind, kind, batch, ids)
        if refused is not None:
            raise refused

    async def _send(self, kind: Kind, member: str, batch: list[Row], ids: list[str]) -> None:
        if self._report.dry:
            self._report.count(kind, "imported", len(batch))
            return
        try:
            outcomes = await self._target.take(member, batch)
        except Refused as error:
            if len(batch) == 1:
                self._report.lost(kind, ids[0], str(error))
                return
            for body, id in zip(batch, ids, strict=True):
                await self._send(kind, member, [body], [id])
            return
        for id, outcome in zip(ids, outcomes, strict=True):
            if outcome.outcome == "refused":
                self._report.lost(kind, id, outcome.detail or "it was refused")
            else:
                self._report.count(kind, "imported" if outcome.outcome == "imported" else "unchanged")
            for note in outcome.notes:
                self._report.partly(kind, id, note)

    def _advance(self) -> None:
        self._done += 1
        self._progress(self._done, max(self._total, self._done))


def _parts(history: History, known: set[str]) -> Iterator[tuple[list[Any], bool]]:
    """Yield unknown checkpoints in portions, each with the required data of earlier parents; and whether it is the last portion."""
    parents, place = history.parents(), {one.id: one for one in history}
    part: list[Any] = []
    inside: set[str] = set()
    size = 0
    for one in history:
        if one.id in known:
            history.skip(one)
            continue
        if part and (size + one.size > PART_BYTES or len(inside) >= PART_CHECKPOINTS):
            yield part, False
            part, inside, size = [], set(), 0
        if history.kind == "history" and one.parent_id is not None and one.parent_id not in inside:
            parent = place.get(one.parent_id)
            if parent is not None:
                part.insert(0, msgspec.Raw(parent.light))
                inside.add(parent.id)
        body = history.body(one)
        if history.kind == "history" and one.id not in parents:
            body = b'{"leaf":true,' + body[1:]
        part.append(msgspec.Raw(body))
        inside.add(one.id)
        size += len(body)
    yield part, True


def _groups(page: list[ThreadHead], size: int) -> Iterator[list[ThreadHead]]:
    for at in range(0, len(page), size):
        yield page[at : at + size]


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _expired(body: Row) -> bool:
    ttl, changed = body.get("ttl"), _moment(body.get("updated_at"))
    if not isinstance(ttl, dict) or changed is None or ttl.get("strategy") != "delete":
        return False
    try:
        return changed + timedelta(minutes=float(ttl["ttl"])) <= machine_now()
    except (OverflowError, ValueError, TypeError):
        return False


def _no_graph(graph_id: Any, graphs: list[str]) -> str:
    if graph_id is None:
        return "the source names no graph for it: name one with --graph"
    return (
        f"graph {graph_id} is not one of the target's ({', '.join(graphs)}): add it to langgraph.json, and import again"
    )


__all__ = ["ALL", "Carrying", "Selection", "Unanswered"]
