"""For consumers outside langlog: decodes records into events, and drops those that must not be counted twice.

Needs msgspec alone. A record may be in the log more than once, and a former owner of a partition or a worker that was declared
dead may still have written; langlog's own projector drops such records by the two rules of `Follower`, and so should
every consumer that acts on events. Not safe for concurrent use: one `Follower` for each consumer, fed in the order of each partition.
After a crash: store `Follower.save` with the consumer's offsets; a follower restored from it continues
without a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from . import envelope
from . import events as ev
from .envelope import Cause, cause_of
from .events import AnyEvent

Headers = Mapping[str, str]


class UnknownType(KeyError):
    """A record of a type or version that this release of langlog_schemas does not know: written by a newer langlog."""


class Sealed(ValueError):
    """The record's body is encrypted (``ll_sealed``): only langlog holds the thread's key, see docs/how-to/erasure.md."""


def headers_of(pairs: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return Kafka headers, as client libraries pass them, in the form of `event_of` and `Follower`.

    What is no text in a record of another producer is replaced (U+FFFD)."""
    return {name: (value or b"").decode(errors="replace") for name, value in pairs}


def event_of(headers: Headers, value: bytes) -> AnyEvent:
    """Return the event of a record, with an old version upcast to the present one.

    Raises UnknownType, Sealed, and msgspec.MsgspecError for a body that does not match its type.
    """
    if envelope.SEALED in headers:
        raise Sealed(headers.get("ce_id", ""))
    try:
        return ev.decode(envelope.type_of(headers), value)
    except KeyError as error:
        raise UnknownType(*error.args) from None


class Follower(msgspec.Struct):
    """The state by which a consumer drops duplicates and stale records. Follows event topics from their beginning.

    1. An event that was decided (it has ``ce_cause``) is dropped unless its (offset, index) is larger than that of the last one
       of its topic and partition, and its count is the same where the offset is.
    2. A worker's record is dropped unless its run is in flight, its attempt is the one dispatched last, and its number (the
       end of ``ce_id``) is larger than the last one's.
    """

    causes: dict[str, tuple[int, int]] = {}
    """``topic/partition`` -> (offset, index) of the cause of the last accepted event."""
    counts: dict[str, int] = {}
    """``topic/partition`` -> the count of that cause."""
    attempts: dict[str, int] = {}
    """Run in flight -> its current attempt."""
    numbers: dict[str, int] = {}
    """Run in flight -> number of the last worker record of that attempt."""

    def event(self, topic: str, partition: int, headers: Headers, value: bytes) -> AnyEvent | None:
        """Return the event of the next record of a partition, or None if it is a duplicate or stale.

        ``topic`` without ``LANGLOG_TOPIC_PREFIX``, or always with it. Raises the errors of `event_of`; the follower has then
        passed the record, so a consumer may skip it and continue.
        """
        cause = cause_of(headers)
        if cause is not None:
            name = f"{topic}/{partition}"
            offset, index = self.causes.get(name, (-1, -1))
            # what an older release has saved has no count
            if not cause.follows(Cause(partition, offset, index, self.counts.get(name, cause.count))):
                return None
            self.causes[name], self.counts[name] = (cause.offset, cause.index), cause.count
        event = event_of(headers, value)
        match event:
            case ev.RunDispatched():
                self.attempts[event.run_id] = event.attempt
                self.numbers.pop(event.run_id, None)
            case ev.RunCreated() if event.dispatched is not None:
                self.attempts[event.run_id] = 1
                self.numbers.pop(event.run_id, None)
            case ev.RunEnded() | ev.RunDeleted():
                self._forget(event.run_id)
            case ev.ThreadDeleted():
                for run_id, _ in event.active:
                    self._forget(run_id)
            case (
                ev.RunStarted()
                | ev.RunFrames()
                | ev.CheckpointWritten()
                | ev.CheckpointWrites()
                | ev.CheckpointSteps()
                | ev.CheckpointPart()
                | ev.RunResultPart()
            ) if event.run_id is not None:
                return event if self._in_turn(event.run_id, event.attempt, headers) else None
            case _:
                pass
        return event

    def _in_turn(self, run_id: str, attempt: int, headers: Headers) -> bool:
        if self.attempts.get(run_id) != attempt:
            return False
        number = int(headers["ce_id"].rpartition("-")[2])
        if number <= self.numbers.get(run_id, 0):
            return False
        self.numbers[run_id] = number
        return True

    def _forget(self, run_id: str) -> None:
        self.attempts.pop(run_id, None)
        self.numbers.pop(run_id, None)

    def save(self) -> bytes:
        """Return the state, encoded. Store it together with the handled offsets."""
        return msgspec.json.encode(self)

    @classmethod
    def restore(cls, saved: bytes) -> Follower:
        """Return the follower that `save` encoded. Raises msgspec.MsgspecError for other bytes."""
        return msgspec.json.decode(saved, type=cls)
