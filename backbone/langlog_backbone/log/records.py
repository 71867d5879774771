"""Records of commands, events and snapshots: the one place where a body gets its topic, key and envelope.

Ids are the caller's: an id that is derived from what a command is about makes its repetition harmless.
"""

from __future__ import annotations

from langlog_schemas import commands as cmd
from langlog_schemas import envelope, snapshots
from langlog_schemas import events as ev

from ..time.clock import now_iso
from .port import NewRecord


def command_record(
    command: cmd.Body,
    *,
    id: str,
    source: str,
    time: str | None = None,
    reply_to: str | None = None,
    actor: str | None = None,
    retry: bool = False,
    traceparent: str | None = None,
) -> NewRecord:
    """Return the record of a command. ``time``: when it is appended, ISO 8601 in UTC; None: now. Raises what the encoder raises."""
    return encoded_command_record(
        command.TYPE,
        command.key,
        cmd.encode(command),
        id=id,
        source=source,
        time=time,
        reply_to=reply_to,
        actor=actor,
        retry=retry,
        traceparent=traceparent,
    )


def encoded_command_record(
    type: str,  # noqa: A002 - the attribute's name in CloudEvents
    key: str,
    body: bytes,
    *,
    id: str,
    source: str,
    time: str | None = None,
    reply_to: str | None = None,
    actor: str | None = None,
    retry: bool = False,
    traceparent: str | None = None,
) -> NewRecord:
    """Return the record of a command whose body is already encoded."""
    headers = envelope.headers(
        id=id,
        type=type,
        source=source,
        time=time or now_iso(),
        subject=key,
        reply_to=reply_to,
        actor=actor,
        retry=retry,
        traceparent=traceparent,
    )
    return NewRecord(cmd.TOPIC, key, body, headers)


def event_record(
    event: ev.Event,
    *,
    id: str,
    source: str,
    time: str | None = None,
    body: bytes | None = None,
    cause: envelope.Cause | None = None,
    reply_to: str | None = None,
    actor: str | None = None,
    retry: bool = False,
    traceparent: str | None = None,
) -> NewRecord:
    """Return the record of an event. ``body``: the encoded event, if available. ``time``: None: now."""
    headers = envelope.headers(
        id=id,
        type=event.TYPE,
        source=source,
        time=time or now_iso(),
        subject=event.key,
        content_type=envelope.MSGPACK_CONTENT if event.TYPE in ev.MSGPACK_EVENTS else envelope.JSON_CONTENT,
        cause=cause,
        reply_to=reply_to,
        actor=actor,
        retry=retry,
        traceparent=traceparent,
    )
    return NewRecord(event.topic, event.key, ev.encode(event) if body is None else body, headers)


def snapshot_record(body: snapshots.AnySnapshot, *, id: str, source: str) -> NewRecord:
    """Return the record of a part of a snapshot. Raises the encoder's errors."""
    headers = envelope.headers(
        id=id,
        type=body.TYPE,
        source=source,
        time=now_iso(),
        subject=body.key,
        content_type=envelope.MSGPACK_CONTENT,
    )
    return NewRecord(snapshots.TOPIC, body.key, snapshots.encode(body), headers)
