"""``/operator/import``: turns objects that `langlog import` has read elsewhere into ordinary commands, with their provenance.

Checkpoints are prepared by a worker, which has the graph and the serializer (`langlog_executor.queries.imports`), and appended as state
updates in records within the log's limit. Objects that were imported before are left unchanged, so a request may be
repeated, and an import continues where it ended. A gateway that dies in between leaves a thread with fewer checkpoints,
whose time of change is that of the import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.store.conditions import address_fault
from langlog_backbone.time.clock import iso
from langlog_backbone.time.schedule import Schedule, ScheduleError, moment_of
from langlog_schemas import commands as cmd
from langlog_schemas import ids
from langlog_schemas.rules.provenance import Provenance
from msgspec import Raw

from ..auth.access import admit_operator
from ..core import Core, encoded_response, origin_of
from ..http.backends import Origin, UserCodeError
from ..http.errors import ApiError, unprocessable
from ..http.validation import check_sizes, check_webhook, read_body, uuid_of
from ..requests.imports import (
    HeldQuery,
    Import,
    ImportedAssistant,
    ImportedCron,
    ImportedItem,
    ImportedThread,
    ImportedVersion,
)
from ..resources.store import check_namespace
from ..responses.members import stamp
from ..responses.system import Held, HeldAssistant, HeldCron, HeldThread, ImportOutcome, ImportOutcomes
from ..threads.splitting import NO_VALUES, fitting, with_checkpoints
from ..threads.summary import StateSummary

SQL = load_sql("langlog_gateway", "imports.sql")
EMBEDDED_AT_ONCE = 8
"""Number of items whose vectors are computed at the same time."""
NO_GRAPH = "graph {!r} is not one of this server's ({}): add it to the graphs of langgraph.json and import again"
MOVED_ON = "the thread has {} runs here: what was changed at the source since is left there"
DIFFERENT = "assistant {} has another version {} here"
VALUES_TOO_LARGE = (
    "its values are too large for a record: the thread is listed without them until its next run, its state has them"
)
UNCHANGED = ImportOutcome("unchanged")

_import = msgspec.json.Decoder(Import)
_held = msgspec.json.Decoder(HeldQuery)
_rows = msgspec.json.Decoder(list[cmd.StoreVector])


class _Place(msgspec.Struct):
    """Members that are read of a history entry or a row before a worker gets it."""

    checkpoint: Any = None
    checkpoint_id: str = ""
    known: bool = False

    @property
    def id(self) -> str:
        named = self.checkpoint.get("checkpoint_id") if isinstance(self.checkpoint, dict) else None
        return self.checkpoint_id or str(named or "")


class _Prepared(msgspec.Struct):
    bundles: list[bytes]
    notes: list[str] = []


class Imports:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/operator/import", self.take), web.post("/operator/import/held", self.held)]

    async def held(self, request: web.Request) -> web.Response:
        """Returns which of these objects this server has, and their state: an import that continues leaves them out."""
        admit_operator(request)
        wanted = await read_body(request, _held)
        reads = self._core.reads
        threads = await reads.rows(SQL["threads"], wanted.threads)
        assistants = await reads.rows(SQL["assistants"], wanted.assistants)
        crons = await reads.rows(SQL["crons"], wanted.crons)
        return encoded_response(
            Held(
                graphs=await self._graphs(),
                threads={
                    row["thread_id"]: HeldThread(stamp(row["updated_at"]), row["runs"], list(row["checkpoints"]))
                    for row in threads
                },
                assistants={
                    row["assistant_id"]: HeldAssistant(list(row["versions"]), row["version"]) for row in assistants
                },
                crons={row["cron_id"]: HeldCron(stamp(row["updated_at"]), row["enabled"]) for row in crons},
            )
        )

    async def take(self, request: web.Request) -> web.Response:
        """Import objects that were read from another server or database. They keep ids, times and versions.

        An object that exists here is left unchanged; a thread gets the checkpoints that it does not have, unless it has had runs
        here. Each object has an outcome of its own. The member `provenance` in the log names the source of an object.
        """
        admit_operator(request)
        body = await read_body(request, _import)
        origin = Origin(origin_of(request).actor)
        work = _Import(self._core, body, origin, await self._core.caller_of(request), await self._graphs())
        outcomes = ImportOutcomes(
            assistants=[await work.of(work.assistant(one)) for one in body.assistants],
            threads=[await work.of(work.thread(one)) for one in body.threads],
            items=await work.items(body.items),
            crons=[await work.of(work.cron(one)) for one in body.crons],
        )
        return encoded_response(outcomes)

    async def _graphs(self) -> list[str]:
        return [row["graph_id"] for row in await self._core.reads.rows(SQL["graphs"])]


class _Import:
    """One request."""

    def __init__(self, core: Core, body: Import, origin: Origin, caller: dict[str, Any], graphs: list[str]) -> None:
        self._core, self._origin, self._caller, self._graphs = core, origin, caller, graphs
        self._source, self._read_at = body.source, _time(body.read_at)

    async def of(self, work: Any) -> ImportOutcome:
        """Return the outcome of one object; an error in the object refuses only this one. Raises ApiError for trouble of
        the server's own."""
        try:
            outcome: ImportOutcome = await work
        except ApiError as error:
            if error.status >= web.HTTPInternalServerError.status_code:
                raise
            return ImportOutcome("refused", error.detail)
        except UserCodeError as error:
            return ImportOutcome("refused", f"the graph's code failed: {error}")
        return outcome

    def _provenance(
        self, created_at: str | None = None, updated_at: str | None = None, original_id: str | None = None
    ) -> Provenance:
        return Provenance(
            source=self._source,
            read_at=self._read_at or "",
            original_id=original_id,
            created_at=_time(created_at),
            updated_at=_time(updated_at),
        )

    async def _execute(self, commands: Sequence[cmd.Body], what: str) -> None:
        """Execute the commands. Raises ApiError for the first that is rejected."""
        for reply in await self._core.commands.execute_all(commands, self._origin, what):
            if reply.status != web.HTTPOk.status_code:
                raise ApiError(reply.status, reply.detail or "")

    def _check_graph(self, graph_id: str | None) -> None:
        if graph_id not in self._graphs:
            raise unprocessable(NO_GRAPH.format(graph_id, ", ".join(self._graphs) or "it has none yet"))

    # assistants

    async def assistant(self, given: ImportedAssistant) -> ImportOutcome:
        id = uuid_of(given.assistant_id, "assistant")
        if [version.version for version in given.versions] != list(range(1, len(given.versions) + 1)):
            raise unprocessable("versions must be 1, 2, 3 … without gaps")
        rows = await self._core.reads.rows(SQL["assistants"], [id])
        held = list(rows[0]["versions"]) if rows else []
        commands: list[cmd.Body] = []
        for version in given.versions:
            if version.version in held:
                await self._check_same(id, version)
                continue
            self._check_graph(version.graph_id)
            check_sizes(self._core.settings, metadata=version.metadata, config=version.config, context=version.context)
            commands.append(self._version(id, given, version))
        latest = max([*held, len(given.versions)])
        if (commands and latest != len(given.versions)) or given.latest not in range(1, latest + 1):
            raise unprocessable(DIFFERENT.format(id, latest))
        now = latest if commands else rows[0]["version"]
        if now != given.latest:
            origin = self._provenance(updated_at=given.updated_at)
            commands.append(cmd.SetLatestAssistant(assistant_id=id, version=given.latest, provenance=origin))
        if not commands:
            return UNCHANGED
        await self._execute(commands, "imported assistant")
        return ImportOutcome("imported")

    def _version(self, id: str, given: ImportedAssistant, version: ImportedVersion) -> cmd.Body:
        last = version.version == len(given.versions)
        origin = self._provenance(version.created_at, given.updated_at if last else version.created_at)
        members: dict[str, Any] = {
            "assistant_id": id,
            "graph_id": version.graph_id,
            "config": version.config,
            "context": version.context,
            "metadata": version.metadata,
            "name": version.name,
            "description": version.description,
            "provenance": origin,
        }
        return cmd.CreateAssistant(**members) if version.version == 1 else cmd.PatchAssistant(**members)

    async def _check_same(self, id: str, version: ImportedVersion) -> None:
        """Raise ApiError if the version here differs. The first of a graph's own assistant may differ."""
        if version.version == 1 and id == ids.default_assistant_id(version.graph_id):
            return
        row = await self._core.reads.row(SQL["version"], id, version.version)
        decode = msgspec.json.decode
        here = (row["graph_id"], decode(row["config"]), decode(row["context"])) if row is not None else None
        if here != (version.graph_id, version.config, version.context):
            raise ApiError(409, DIFFERENT.format(id, version.version))

    # threads

    async def thread(self, given: ImportedThread) -> ImportOutcome:
        id = uuid_of(given.thread_id, "thread")
        check_sizes(self._core.settings, metadata=given.metadata, config=given.config)
        if given.history or given.rows:
            self._check_graph(given.graph_id)
        row = await self._core.reads.row(SQL["thread"], id)
        if row is not None and row["runs"]:
            raise ApiError(409, MOVED_ON.format(row["runs"]))
        prepared = await self._prepared(id, given)  # before anything is written: what is refused changes nothing
        ttl = None if given.ttl is None else given.ttl.kept
        bare = not (given.history or given.rows) and given.complete and (row is None or not row["has_checkpoints"])
        origin = self._provenance(given.created_at, given.updated_at if bare else None, given.original_id)
        if row is None:
            made = cmd.CreateThread(
                thread_id=id, metadata=given.metadata, config=given.config, ttl=ttl, provenance=origin
            )
            await self._execute([made], "imported thread")
        elif msgspec.json.decode(row["metadata"]) != given.metadata or (ttl and not _lives_so(row, ttl)):
            patch = cmd.PatchThread(thread_id=id, metadata=given.metadata, ttl=ttl, provenance=origin)
            await self._execute([patch], "imported metadata")
        notes = prepared.notes
        if prepared.bundles:
            await self._execute(self._updates(id, prepared.bundles, origin), "imported checkpoints")
        if given.complete and not (bare and row is None):
            notes += await self._complete(id, given)
        return ImportOutcome("imported", notes=notes)

    async def _prepared(self, id: str, given: ImportedThread) -> _Prepared:
        """Return the checkpoints that are missing here, and notes on values that cannot be imported. Raises ApiError."""
        kind, member, texts = (
            ("import_rows", "rows", given.rows) if given.rows else ("import_history", "entries", given.history)
        )
        if not texts:
            return _Prepared([])
        places = [_place(text) for text in texts]
        here = await self._core.reads.rows(SQL["checkpoints"], id, [place.id for place in places])
        known = {row["checkpoint_id"] for row in here}
        if kind == "import_rows":
            sent = [text for text, place in zip(texts, places, strict=True) if place.id not in known]
        else:
            sent = [
                Raw(b'{"known":true,' + bytes(text).lstrip()[1:]) if place.id in known and not place.known else text
                for text, place in zip(texts, places, strict=True)
            ]
        if all(place.id in known for place in places):
            return _Prepared([])
        question = {"graph_id": given.graph_id, "thread_id": id, member: sent, **self._caller}
        return msgspec.json.decode(await self._core.queries.query(kind, question), type=_Prepared)

    def _updates(self, id: str, bundles: list[bytes], origin: Provenance) -> list[cmd.UpdateState]:
        """Return state updates that hold the bundles, each within a record."""
        update = cmd.UpdateState(
            thread_id=id, checkpoints=[], values=NO_VALUES, checkpoints_only=True, provenance=origin
        )
        return list(with_checkpoints(update, bundles, self._core.commands.max_record_bytes))

    async def _complete(self, id: str, given: ImportedThread) -> list[str]:
        """Set the thread's values, status and interrupts of its state, and the time of its last change. Returns what is left out."""
        row = await self._core.reads.row(SQL["thread"], id)
        state = StateSummary()
        if row is not None and row["has_checkpoints"]:
            question = {
                "graph_id": given.graph_id,
                "thread_id": id,
                "assistant_id": row["assistant_id"],
                "config": Raw(row["config"].encode()),
                "to_store": True,
                **self._caller,
            }
            state = StateSummary.decode(await self._core.queries.query("state", question))
        origin = self._provenance(given.created_at, given.updated_at, given.original_id)
        command = cmd.UpdateState(
            thread_id=id,
            checkpoints=[],
            values=state.values,
            next=state.next,
            interrupts=state.interrupts(),
            status=given.status,
            error=given.error if given.error != b"null" else cmd.ABSENT,
            provenance=msgspec.structs.replace(origin, state_updated_at=_time(given.state_updated_at)),
        )
        (fits,) = fitting(command, self._core.commands.max_record_bytes)
        await self._execute([fits], "imported state")
        if fits is not command:
            return [VALUES_TOO_LARGE]
        return []

    # store

    async def items(self, given: list[ImportedItem]) -> list[ImportOutcome]:
        if not given:
            return []
        rows = await self._core.reads.rows(
            SQL["items"], [".".join(item.namespace) for item in given], [item.key for item in given]
        )
        held = {row["position"] - 1: row["updated_at"] for row in rows}
        free = asyncio.Semaphore(EMBEDDED_AT_ONCE)

        async def write(item: ImportedItem, there: datetime | None) -> ImportOutcome:
            async with free:
                return await self.of(self._item(item, there))

        return await asyncio.gather(*(write(item, held.get(n)) for n, item in enumerate(given)))

    async def _item(self, item: ImportedItem, there: datetime | None) -> ImportOutcome:
        check_namespace(item.namespace)
        if fault := address_fault(item.namespace, item.key):
            raise unprocessable(fault)
        updated_at = _time(item.updated_at)
        if there is not None and (updated_at is None or datetime.fromisoformat(updated_at) <= there):
            return UNCHANGED
        vectors: list[cmd.StoreVector] = []
        if self._core.store_index is not None:
            question = {"value": item.value, "index": None}
            vectors = _rows.decode(await self._core.queries.query("embed_item", question))
        op = cmd.StoreOp(
            key=item.key,
            value=Raw(msgspec.json.encode(item.value)),
            ttl=self._core.store_ttl.default_ttl if item.ttl is None else item.ttl,
            vectors=vectors,
            created_at=_time(item.created_at),
            updated_at=updated_at,
        )
        written = cmd.WriteStore(namespace=item.namespace, ops=[op], provenance=self._provenance())
        await self._execute([written], "imported item")
        return ImportOutcome("imported")

    # crons

    async def cron(self, given: ImportedCron) -> ImportOutcome:
        id = uuid_of(given.cron_id, "cron")
        rows = await self._core.reads.rows(SQL["crons"], [id])
        if rows:
            if not given.enabled or rows[0]["enabled"]:
                return UNCHANGED
            await self._execute([cmd.PatchCron(cron_id=id, payload={}, enabled=True)], "imported cron")
            return ImportOutcome("imported")
        try:
            Schedule(given.schedule, given.timezone)
            if given.end_time is not None:
                moment_of(given.end_time)
        except ScheduleError as error:
            raise unprocessable(str(error)) from None
        assistant_id = uuid_of(given.assistant_id, "assistant")
        if not await self._core.reads.rows(SQL["assistants"], [assistant_id]):
            raise unprocessable(f"assistant {assistant_id} is not here: import it first")
        if isinstance(webhook := given.payload.get("webhook"), str):
            check_webhook(self._core.webhooks, webhook)
        command = cmd.CreateCron(
            cron_id=id,
            assistant_id=assistant_id,
            thread_id=None if given.thread_id is None else uuid_of(given.thread_id, "thread"),
            user_id=given.user_id or "",
            schedule=given.schedule,
            timezone=given.timezone,
            end_time=given.end_time,
            payload=given.payload,
            metadata=given.metadata,
            on_run_completed=given.on_run_completed if given.thread_id is None else None,
            enabled=given.enabled,
            provenance=self._provenance(given.created_at, given.updated_at),
        )
        await self._execute([command], "imported cron")
        return ImportOutcome("imported")


def _place(text: Raw) -> _Place:
    """Decode the position of an entry. Raises ApiError 422."""
    try:
        place = msgspec.json.decode(text, type=_Place)
    except msgspec.MsgspecError as error:
        raise unprocessable(f"a checkpoint is not as it must be: {error}") from None
    if not place.id:
        raise unprocessable("a checkpoint has no checkpoint_id")
    return place


def _time(text: str | None) -> str | None:
    """Return the time in the log's format. Raises ApiError 422."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return iso(moment)
    except (ValueError, OverflowError):
        pass
    raise unprocessable(f"{text[:100]!r} is no time in ISO 8601 with an offset")


def _lives_so(row: Any, ttl: cmd.Ttl) -> bool:
    return (row["ttl_minutes"], row["ttl_strategy"]) == (ttl.ttl, ttl.strategy)
