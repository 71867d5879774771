"""Request bodies of states and histories (wire contract §3)."""

from __future__ import annotations

from typing import Any

import msgspec
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import Checkpoint, CheckpointName
from msgspec import Struct

from .members import Limit


class StateAtCheckpoint(Struct):
    """Address of a thread's state, and the form in which to return it."""

    checkpoint: Checkpoint
    """Checkpoint of the state; with `checkpoint_ns` the state of a subgraph"""
    subgraphs: bool | None = None
    """Include the states of subgraphs in `tasks`"""
    select: list[str] | None = None
    """Members to return, and `values.<key>` for one key of the values; absent returns all"""


class StateUpdate(Struct):
    """An update of a thread's state, as if a node had written it."""

    values: Object | list[Any] | None = None
    """Values to write; the graph's reducers apply. Null writes a checkpoint without changes"""
    as_node: str | None = None
    """Node that the update counts as; absent means the node that wrote last. `__end__` finishes the run"""
    checkpoint: Checkpoint | None = None
    """Checkpoint to update; an older one starts a branch"""
    checkpoint_id: CheckpointName | None = None
    """Id of the checkpoint to update (deprecated, see `checkpoint`)"""


class HistoryConfigurable(Struct):
    """Address of the checkpoint that the history starts before, as a config has it."""

    checkpoint_id: CheckpointName | None = None
    """Id of a checkpoint"""


class HistoryBefore(Struct):
    """Start of the history, given as a config or as a checkpoint."""

    configurable: HistoryConfigurable = msgspec.field(default_factory=HistoryConfigurable)
    """Object with `checkpoint_id`"""
    checkpoint_id: CheckpointName | None = None
    """Id of a checkpoint"""


class HistorySearch(Struct):
    """Conditions and form of a thread's history, newest first."""

    limit: Limit = 1
    """Maximum number of states"""
    before: HistoryBefore | None = None
    """Checkpoint that the states must be older than"""
    metadata: Object | None = None
    """Metadata that the checkpoints must contain"""
    checkpoint: Checkpoint | None = None
    """`checkpoint_ns` of the subgraph whose history to return"""
    select: list[str] | None = None
    """Members of each state, and `values.<key>` for one key of the values; absent returns all"""


STATE_AT_CHECKPOINT = msgspec.json.Decoder(StateAtCheckpoint)
STATE_UPDATE = msgspec.json.Decoder(StateUpdate)
HISTORY_SEARCH = msgspec.json.Decoder(HistorySearch)
