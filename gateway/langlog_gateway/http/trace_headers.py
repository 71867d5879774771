"""Members of a run's configurable that are set from its caller's LangSmith headers. Pure.

A client that is part of a trace (`RemoteGraph` with ``distributed_tracing``, langsmith's ``RunTree.to_headers``) sends
``langsmith-trace``, the dotted order of its run, and ``baggage`` (W3C Baggage) with members ``langsmith-project``,
``langsmith-metadata`` (JSON) and ``langsmith-tags``, each percent-encoded. Graphs read them under these names, as the
LangGraph Server documents it ("Distributed tracing"). Values of another form are left out: a header of some proxy must not
prevent a run. Destinations beyond a project's name (replicas) are never accepted from a caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from langlog_backbone.values.json_shape import without_nul
from langlog_backbone.values.lone_surrogates import encodable

TRACE = "langsmith-trace"
PROJECT = "langsmith-project"
METADATA = "langsmith-metadata"
TAGS = "langsmith-tags"
BAGGAGE = "baggage"

_RUN = r"[0-9]{8}T[0-9]{12}Z[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
DOTTED_ORDER = re.compile(rf"{_RUN}(?:\.{_RUN})*")
"""Start time and id of each run, from the outermost to the caller's own."""
TIME_CHARACTERS = len("20260101T000000000000Z")
HEADER_MAX = 8_190
"""Maximum length of a header, in characters: the usual limit of HTTP servers."""
PROJECT_MAX = 1_000
INTEGER_MAX = 2**63 - 1
ENTRIES_MAX = 100
"""Maximum number of tags, and of members of the metadata."""


_Integer = Annotated[int, msgspec.Meta(ge=-INTEGER_MAX - 1, le=INTEGER_MAX)]
_metadata = msgspec.json.Decoder(dict[str, str | _Integer | float | bool | None])


def trace_configurable(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the members of the configurable: text, but for the metadata (object of scalars) and the tags (list of texts).

    ``baggage`` is what was taken of that header, for graphs that hand on both headers as they came.
    """
    configurable: dict[str, Any] = {}
    trace = headers.get(TRACE, "")
    if len(trace) <= HEADER_MAX and DOTTED_ORDER.fullmatch(trace) and _is_of_times(trace):
        configurable[TRACE] = trace
    baggage = headers.get(BAGGAGE, "")
    if not baggage or len(baggage) > HEADER_MAX:
        return configurable
    taken = []
    for member in baggage.split(","):
        name, _, value = member.partition("=")
        text = encodable(unquote(value.partition(";")[0].strip())).replace("\0", "")
        match name.strip():
            case "langsmith-project" if 0 < len(text) <= PROJECT_MAX:
                configurable[PROJECT] = text
            case "langsmith-metadata" if (metadata := _scalars(text)) is not None:
                configurable[METADATA] = metadata
            case "langsmith-tags" if text and text.count(",") < ENTRIES_MAX:
                configurable[TAGS] = text.split(",")
            case _:
                continue
        taken.append(encodable(member.strip()))
    if taken:
        configurable[BAGGAGE] = ",".join(taken)
    return configurable


def _is_of_times(order: str) -> bool:
    """Return whether each start time exists: langsmith reads the last one with `datetime`, and a run must not end by that."""
    try:
        for run in order.split("."):
            datetime.strptime(run[:TIME_CHARACTERS], "%Y%m%dT%H%M%S%fZ")
    except ValueError:
        return False
    return True


def _scalars(text: str) -> dict[str, Any] | None:
    """Return the scalars without NUL characters, which Postgres has no form for, and of integers that checkpoints can hold."""
    try:
        scalars = _metadata.decode(without_nul(text.encode()))
    except (msgspec.MsgspecError, RecursionError):
        return None
    return scalars if len(scalars) <= ENTRIES_MAX else None
