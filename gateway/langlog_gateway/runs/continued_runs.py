"""Runs that continue an earlier run of their thread: answers to interrupts, and retries. Defines the settings that they inherit. Pure.

They stream as it did, so that all followers of the thread see them as well; settings are those in the thread's
config,
which holds no member that the server has added for another caller.
"""

from __future__ import annotations

from typing import Any

import msgspec
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import EVENT_STREAMING, RunCreate
from msgspec import Raw, Struct

from ..requests.runs import RUN_CREATE
from .submission import Particulars

HIDDEN = frozenset({EVENT_STREAMING, "thread_id"})
"""Members of the configurable that runs of the streaming protocol have, and threads do not show."""


class _Configurable(Struct):
    event_streaming: bool = msgspec.field(default=False, name=EVENT_STREAMING)
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: Object | None = None


class _Config(Struct):
    configurable: _Configurable = msgspec.field(default_factory=_Configurable)


class Earlier(Struct):
    """Members that are read of the earlier run's kwargs."""

    input: Raw = Raw(b"null")
    command: Object | None = None
    config: _Config = msgspec.field(default_factory=_Config)
    stream_mode: list[str] = []
    interrupt_before: Any = None
    interrupt_after: Any = None
    webhook: str | None = None
    feedback_keys: list[str] | None = None
    subgraphs: bool = False
    resumable: bool = False
    durability: str | None = None
    langsmith_tracer: Object | None = None


_earlier = msgspec.json.Decoder(Earlier)


def earlier_of(kwargs: str | None) -> Earlier:
    """Return the earlier run's members; defaults if the thread has no runs left."""
    return Earlier() if kwargs is None else _earlier.decode(kwargs)


def following(
    earlier: Earlier, thread_id: str, assistant_id: str, config: str, number: int, **members: Any
) -> tuple[RunCreate, Particulars]:
    """Return the body of a run that continues the earlier one. ``config``: the thread's, JSON. ``members``: own members of the body."""
    settings: Object = msgspec.json.decode(config) or {}
    configurable = dict(settings.get("configurable") or {})
    streaming = earlier.config.configurable.event_streaming
    if streaming:
        configurable |= {EVENT_STREAMING: True, "thread_id": thread_id}
    body: Object = {
        "assistant_id": assistant_id,
        "config": {**settings, "configurable": configurable},
        "stream_subgraphs": earlier.subgraphs,
        "stream_resumable": earlier.resumable,
        **members,
    }
    # as the REST endpoints read it; what is in the log was valid when it was written
    run = RUN_CREATE.decode(msgspec.json.encode(body))
    run.stream_mode = earlier.stream_mode  # type: ignore[assignment] # the protocol has modes that REST clients cannot ask for
    return run, Particulars(number=number, hidden=HIDDEN if streaming else frozenset())


def repeated(earlier: Earlier, row: Any, number: int, *, goes_on: bool) -> tuple[RunCreate, Particulars]:
    """Return the body of a run that replaces the earlier one, whose ``row`` this is. ``goes_on``: from the checkpoints that
    it has left."""
    thread_metadata: Object = msgspec.json.decode(row["thread_metadata"])
    metadata: Object = msgspec.json.decode(row["metadata"])
    own = {name: value for name, value in metadata.items() if thread_metadata.get(name) != value}
    at = earlier.config.configurable
    given: Object = {}
    if not goes_on:
        given = {"input": earlier.input, "command": earlier.command}
        if at.checkpoint_id is not None:
            checkpoint = {"checkpoint_id": at.checkpoint_id, "checkpoint_ns": at.checkpoint_ns}
            given["checkpoint"] = checkpoint | (
                {} if at.checkpoint_map is None else {"checkpoint_map": at.checkpoint_map}
            )
    if earlier.durability is not None:
        given["durability"] = earlier.durability
    return following(
        earlier,
        row["thread_id"],
        row["assistant_id"],
        row["config"],
        number,
        metadata={**own, "retry_of": row["run_id"]},
        interrupt_before=earlier.interrupt_before,
        interrupt_after=earlier.interrupt_after,
        webhook=earlier.webhook,
        feedback_keys=earlier.feedback_keys,
        langsmith_tracer=earlier.langsmith_tracer,
        multitask_strategy="reject",
        **given,
    )
