"""Answers to an import: the checkpoints that another server's history, or rows of the library's Postgres saver, become here.

Concurrency: as `threads`: coroutines of a graph loop that append nothing. What they answer are encoded bundles, which the gateway
appends as state updates; the decider alone decides whether they count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
from langlog_schemas import checkpoints as cp
from langlog_schemas.events import CheckpointWrites, CheckpointWritten
from msgspec.structs import replace

from ..checkpoints.checkpointer import LogCheckpointer
from ..checkpoints.imported_history import Entry, ImportedHistory, hidden_channels
from ..checkpoints.imported_rows import StoredRow, UnreadableValue, add_row, refused_classes
from ..checkpoints.overlay import Overlay
from ..checkpoints.serde import IntegerTooLarge
from ..graphs.run_input import question_config
from ..runtime.records import CapturedRecords
from ..values.json_cipher import encryption_context
from .threads import Refused, ThreadQuestion

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from ..checkpoints.reader import CheckpointReader
    from ..graphs.loading import Graphs


class HistoryImport(ThreadQuestion, frozen=True, kw_only=True):
    """Import of a history. ``entries``: of the thread's history, parents first."""

    entries: list[Entry]


class RowsImport(ThreadQuestion, frozen=True, kw_only=True):
    """Import of rows. ``rows``: checkpoints of the thread, parents first."""

    rows: list[StoredRow]


class ImportAnswer(msgspec.Struct, frozen=True):
    """``bundles``: `checkpoints.Bundle`s in order. ``notes``: parts that could not be imported, in sentences."""

    bundles: list[bytes]
    notes: list[str]


class ImportQueries:
    """Answers imports; one per process."""

    def __init__(self, graphs: Graphs, reader: CheckpointReader, store: BaseStore | None) -> None:
        self._graphs, self._reader, self._store = graphs, reader, store

    async def history(self, question: HistoryImport) -> bytes:
        records = CapturedRecords()
        saver = LogCheckpointer(records, self._reader, overlay=Overlay())
        notes: list[str] = []
        async with self._open(question, saver) as graph:
            spaces: dict[str, ImportedHistory] = {}
            missing: set[str] = set()
            with encryption_context(question.caller.headers):
                for entry in question.entries:
                    namespace = entry.checkpoint.checkpoint_ns
                    if namespace not in spaces and namespace not in missing:
                        space_graph = await _subgraph(graph, namespace)
                        if space_graph is None:
                            missing.add(namespace)
                        else:
                            spaces[namespace] = ImportedHistory(space_graph, saver, question.thread_id)
                    if namespace in spaces:
                        await _kept(spaces[namespace].add(entry))
            notes += [f"the graph here has no subgraph {space}" for space in sorted(missing)]
            for space in spaces.values():
                notes += space.notes
            hidden = hidden_channels(cast("Any", graph))
            if hidden:
                notes.append(f"the API does not show the channels {', '.join(hidden)}")
        return msgspec.json.encode(ImportAnswer(_bundles(records), list(dict.fromkeys(notes))))

    async def rows(self, question: RowsImport) -> bytes:
        records = CapturedRecords()
        saver = LogCheckpointer(records, self._reader, overlay=Overlay())
        async with self._open(question, saver):  # classes of the graph's state are known once it is loaded
            before = len(refused_classes(saver.serde))
            with encryption_context(question.caller.headers):
                for row in question.rows:
                    await _kept(add_row(saver, question.thread_id, row))
            refused = refused_classes(saver.serde)[before:]
        notes = [
            f"values of {name} came as plain data: allow it in checkpointer.serde.allowed_msgpack_modules, and import again"
            for name in refused
        ]
        return msgspec.json.encode(ImportAnswer(_bundles(records), notes))

    def _open(self, question: ThreadQuestion, saver: LogCheckpointer) -> Any:
        return self._graphs.open(
            question.graph_id,
            question_config(question.config, question.caller, thread_id=question.thread_id, graph_id=question.graph_id),
            checkpointer=saver,
            store=self._store,
            access_context="threads.read",
            user=question.caller.auth_user,
        )


async def _kept(adding: Any) -> None:
    """Put checkpoints into a saver and capture them. Raises Refused."""
    try:
        await adding
    except (UnreadableValue, IntegerTooLarge) as error:
        raise Refused(422, str(error)) from None


async def _subgraph(graph: Any, namespace: str) -> Any:
    """Return the graph of a namespace, or None if the project has no such graph."""
    if not namespace:
        return graph
    named = "|".join(part.partition(":")[0] for part in namespace.split("|") if not part.isdigit())
    async for _, subgraph in graph.aget_subgraphs(namespace=named, recurse=True):
        return subgraph
    return None


def _bundles(records: CapturedRecords) -> list[bytes]:
    """Return each checkpoint with its writes. They belong to no run: the import has none."""
    bundles: list[cp.Bundle] = []
    for event in records.events:
        match event:
            case CheckpointWritten():
                bundles.append(cp.Bundle(checkpoint=replace(cp.decode_checkpoint(event.body), run_id=None)))
            case CheckpointWrites() if bundles:
                bundles[-1].writes.append(cp.decode_writes(event.body))
    return [cp.encode(bundle) for bundle in bundles]
