"""Views of the log's records for people and the API, and filters of records. Pure."""

from __future__ import annotations

import base64
import fnmatch
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from langlog_schemas import envelope
from langlog_schemas import event_index as ix

from ..history.audit import EventQuery, wanted
from ..log.port import Record

SHOWN_BYTES = 64 * 1024
"""Maximum size of a body in a page, in bytes. A larger one is left out; read the record by itself."""


class RecordFilter(NamedTuple):
    """A selection of records; empty and None: no restriction. ``types`` as in `type_matches`."""

    topics: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    types: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def has(self, record: Record) -> bool:
        return record_matches(record, self.keys, self.types, self.since, self.until)


class RecordView(msgspec.Struct, frozen=True):
    """A record as the API shows it. ``data``: the decoded body, bytes inside it as base64; None with ``omitted``."""

    topic: str
    """Topic of the log."""
    partition: int
    """Partition of the topic."""
    offset: int
    """Position within the partition."""
    key: str
    """Key of the record: id of a thread, an assistant or a cron, or a namespace."""
    type: str
    """Type with its version, such as `run.created.v1`."""
    time: str | None
    """Time at which the record was appended, by the appender's clock; ISO 8601."""
    bytes: int
    """Size of the body."""
    headers: dict[str, str]
    """CloudEvents attributes and others."""
    data: Any = None
    """Decoded body; bytes inside it as base64."""
    omitted: str | None = None
    """Reason why there is no ``data``: ``large`` (read the record by itself), ``erased`` or ``unreadable``."""


def type_matches(type_name: str, wanted: Sequence[str]) -> bool:
    """Return whether a record's type matches: by its name (with version or without), a prefix that ends in a dot, or a pattern with
    ``*``, ``?`` or ``[…]``. None wanted: all are."""
    patterns = [text for text in wanted if any(sign in text for sign in "*?[")]
    plain = tuple(text for text in wanted if text not in patterns)
    short = type_name.removeprefix(envelope.PREFIX)
    names = (type_name, short, ix.unversioned(short))
    by_pattern = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)
    return by_pattern or (ix.matches(type_name, plain) if plain or not patterns else False)


def record_matches(
    record: Record, keys: Collection[str], types: Sequence[str], since: datetime | None, until: datetime | None
) -> bool:
    """Return whether a record has one of the keys and types (none given: any), and a time within the limits. A gap is no record."""
    if envelope.GAP in record.headers or (keys and record.key not in keys):
        return False
    in_time = wanted(EventQuery("", since=since, until=until), record)
    return in_time and type_matches(envelope.type_of(record.headers), types)


def body_of(record: Record) -> Any:
    """Return the decoded body; base64 of bytes that are neither JSON nor msgpack, None of an erased one."""
    try:
        packed = record.headers.get("content-type") == envelope.MSGPACK_CONTENT
        return (msgspec.msgpack if packed else msgspec.json).decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None if envelope.ERASED in record.headers else base64.b64encode(record.value).decode()


def view_of(record: Record, limit: int | None = SHOWN_BYTES) -> RecordView:
    """Return the view of a record. ``limit``: maximum size of a body that is shown, in bytes; None: no limit."""
    data, omitted = None, None
    if limit is not None and len(record.value) > limit:
        omitted = "large"
    elif envelope.ERASED in record.headers:
        omitted = "erased"
    else:
        data = body_of(record)
    return RecordView(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        type=envelope.type_of(record.headers),
        time=record.headers.get("ce_time"),
        bytes=len(record.value),
        headers=record.headers,
        data=data,
        omitted=omitted,
    )
