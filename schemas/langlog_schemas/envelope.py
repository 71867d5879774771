"""CloudEvents 1.0 in Kafka's binary mode: attributes as record headers, data as the value.

Every record of every topic carries the same attributes, so that a consumer can filter
without parsing bodies. Source: CloudEvents 1.0 Kafka protocol binding, section 3.2.

    ce_id       commands: the command id; events: ``<partition>-<offset>-<index>`` of the
                command that caused them; worker records: ``<run id>-<attempt>-<sequence>``
    ce_type     ``langlog.<family>.<what>.v<N>``
    ce_source   ``/langlog/<service>``
    ce_time     time of the request or event, ISO 8601, UTC, microseconds
    ce_subject  the aggregate's id
    ce_cause    events of the decider only: ``<partition>-<offset>-<index>-<count>``; of the last event, where a record holds two
    ce_replyto  commands only: the gateway that waits for the outcome
    ce_traceparent  the trace that the record belongs to (W3C trace context, as the CloudEvents extension says), when there is one
    ce_actor    the authenticated user, when known
    ce_command  first event of a command only: the command's id
    ce_retry    commands, and first events of commands: "1" when the id came from an ``Idempotency-Key``
    ll_sealed   the body is encrypted under the thread's key (docs/how-to/erasure.md); the value is the version of the sealing
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

PREFIX = "langlog."
JSON_CONTENT = "application/json"
MSGPACK_CONTENT = "application/msgpack"

SEALED = "ll_sealed"
"""Header of a record whose body is encrypted."""
ERASED = "ll_erased"
"""Header of a record as it is read: its key is destroyed, so it has no body. Never in the log."""
GAP = "ll_gap"
"""Header of an offset without a record of any producer: Kafka's mark at the end of a transaction, or a record that it has compacted. A reader returns it with a key of its partition and no body, so that offsets have no gaps; consumers pass it over. In the log only where
that was copied."""
KEY_ID = "ll_key"
"""Header of a record as it is read: id of the key that its body was encrypted with. Never in the log."""

Headers = dict[str, str]


class Cause(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The command that an event results from, and the event's place among that command's events.

    Folding drops an event that does not follow the last one folded for the partition (`follows`). Duplicates are therefore harmless.
    """

    partition: int
    offset: int
    index: int = 0
    count: int = 0

    def header(self) -> str:
        return f"{self.partition}-{self.offset}-{self.index}-{self.count}"

    def follows(self, last: Cause | None) -> bool:
        """Return whether an event counts after the last one that did in its partition: it is of a later command, or a later event
        of the same decision. Two owners that decide a command otherwise differ in the count: the first decision counts,
        and nothing of the second."""
        if last is None or self.offset != last.offset:
            return last is None or self.offset > last.offset
        return self.index > last.index and self.count == last.count

    @property
    def event_id(self) -> str:
        return f"{self.partition}-{self.offset}-{self.index}"

    @classmethod
    def parse(cls, text: str) -> Cause:
        """Parse `header`. Raises ValueError for any other text, and for numbers that no position has."""
        partition, offset, index, count = map(int, text.split("-"))
        if offset >= 2**63 or max(partition, index, count) >= 2**31:
            raise ValueError("the numbers of a cause are too large")
        return cls(partition, offset, index, count)


class CommandMeta(msgspec.Struct, frozen=True):
    """The envelope and log position of a command: all that decide may use besides the body.

    ``time`` is the append time as the appender stamped it: deciding reads no clock.
    """

    id: str
    time: str
    partition: int
    offset: int
    reply_to: str | None = None
    actor: str | None = None
    retry: bool = False
    traceparent: str | None = None


def headers(
    *,
    id: str,
    type: str,  # noqa: A002 - the attribute's name in CloudEvents
    source: str,
    time: str,
    subject: str,
    content_type: str = JSON_CONTENT,
    cause: Cause | None = None,
    reply_to: str | None = None,
    actor: str | None = None,
    retry: bool = False,
    traceparent: str | None = None,
) -> Headers:
    """The attributes of one record; ``type`` without the ``langlog.`` prefix."""
    members: Headers = {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_type": PREFIX + type,
        "ce_source": source,
        "ce_time": time,
        "ce_subject": subject,
        "content-type": content_type,
    }
    if cause is not None:
        members["ce_cause"] = cause.header()
    if reply_to is not None:
        members["ce_replyto"] = reply_to
    if actor is not None:
        members["ce_actor"] = actor
    if retry:
        members["ce_retry"] = "1"
    if traceparent is not None:
        members["ce_traceparent"] = traceparent
    return members


def type_of(headers: Mapping[str, str]) -> str:
    """The record's type without the prefix; empty when the header is absent."""
    return headers.get("ce_type", "").removeprefix(PREFIX)


def cause_of(headers: Mapping[str, str]) -> Cause | None:
    """Return the cause of an event's record, or None if it has none. Raises ValueError for one that is malformed."""
    text = headers.get("ce_cause")
    return None if text is None else Cause.parse(text)


def meta_of(headers: Mapping[str, str], partition: int, offset: int) -> CommandMeta:
    """The meta of a command record at a log position. Raises KeyError when id or time are absent."""
    return CommandMeta(
        id=headers["ce_id"],
        time=headers["ce_time"],
        partition=partition,
        offset=offset,
        reply_to=headers.get("ce_replyto"),
        actor=headers.get("ce_actor"),
        retry=headers.get("ce_retry") == "1",
        traceparent=headers.get("ce_traceparent"),
    )
