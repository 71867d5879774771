"""Rules for the log that must hold after every record that is appended, and facts that worlds remember of it.

Records are taken as a consumer takes them: an event whose cause is not past the last one of its partition is a repetition, and must be
byte for byte what it repeats. What counts is then followed thread by thread.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
from langlog_backbone.log import Record
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState, evolve
from langlog_schemas.envelope import Cause
from langlog_schemas.events.joined import parts as parts_of

OF_ATTEMPTS = frozenset(
    event.TYPE
    for event in (
        ev.RunStarted,
        ev.RunFrames,
        ev.CheckpointWritten,
        ev.CheckpointWrites,
        ev.CheckpointSteps,
        ev.CheckpointPart,
        ev.RunResultPart,
    )
)
"""Records that workers write."""


class Violation(Exception):
    """Something that must hold does not."""


class Ledger:
    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._digest = hashlib.sha256()
        self.checks = Counter[str]()
        self.commands: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """Command id -> where it is in the log; several times when it was sent again."""
        self.threads: dict[str, ThreadState] = {}
        self.created: Counter[str] = Counter()
        """Run -> how often its creation counts."""
        self.ended: dict[str, ev.RunEnded | ev.RunDeleted] = {}
        self.deleted: set[str] = set()
        """Threads of which something was deleted: what they hold is no longer only what their runs have written."""
        self.frames: dict[str, dict[int, list[tuple[int, int]]]] = defaultdict(dict)
        """Resumable run -> attempt -> ids of its public frames, as recorded."""
        self.steps: dict[str, list[Any]] = {}
        """Thread -> the steps of its last values."""
        self.decided: dict[tuple[str, int, int], int] = {}
        """(topic, partition, offset of the command) -> events of it that count."""
        self.cron_runs: dict[str, list[str]] = defaultdict(list)
        self.webhooks: set[str] = set()
        self._last: dict[tuple[str, int], Cause] = {}
        self._first: dict[tuple[str, str], bytes] = {}
        self._attempts: dict[str, int] = {}
        self.begun: set[str] = set()
        """Runs that a worker has begun."""
        self._workers: dict[tuple[str, int], str] = {}
        self._outcomes: dict[str, tuple[int, int]] = {}
        """Id of a command that clients may repeat -> where the one is whose events are its outcome."""
        self.dropped: dict[tuple[str, int], set[int]] = defaultdict(set)
        """(topic, partition) -> offsets of records that no consumer counts: repetitions, and records of past attempts."""
        self.past: dict[int, set[int]] = defaultdict(set)
        """Partition of ``run-events`` -> offsets of records of past attempts."""
        self.queue_lost = False
        """Redis was wiped: it no longer knows what was claimed."""
        self.repeated = 0
        """Events that consumers drop by their cause."""

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def note(self, line: str) -> None:
        """Into the trace."""
        self._digest.update(line.encode())

    def take(self, record: Record) -> None:
        self._digest.update(f"{record.topic}{record.partition}{record.offset}{record.key}".encode())
        self._digest.update(record.value)
        headers = record.headers
        if record.topic == "commands":
            self.commands[headers["ce_id"]].append((record.partition, record.offset))
            return
        if record.topic == ev.DEAD_LETTERS:
            self._report(f"a dead letter: {headers}")
            return
        kind = envelope.type_of(headers)
        if "ce_cause" in headers:
            self._decided(record, kind, Cause.parse(headers["ce_cause"]))
        elif kind in OF_ATTEMPTS:
            self._of_attempt(record, ev.decode(kind, record.value))

    def _of_attempt(self, record: Record, event: Any) -> None:
        if event.run_id is not None and self._attempts.get(event.run_id) != event.attempt:
            self.dropped[record.topic, record.partition].add(record.offset)
            self.past[record.partition].add(record.offset)
        if isinstance(event, ev.RunFrames):
            self._frames(record)
        elif isinstance(event, ev.RunStarted):
            self._started(event)

    def _started(self, event: Any) -> None:
        self.checks["an attempt is one worker's"] += 1
        self.begun.add(event.run_id)
        worker = self._workers.setdefault((event.run_id, event.attempt), event.worker)
        if worker != event.worker and not self.queue_lost:
            self._report(f"attempt {event.attempt} of {event.run_id} was begun by {worker} and by {event.worker}")

    def _decided(self, record: Record, kind: str, cause: Cause) -> None:
        self.checks["an id of an event counts once"] += 1
        id = (record.topic, record.headers["ce_id"])
        first = self._first.setdefault(id, record.value)
        last = self._last.get((record.topic, record.partition))
        repeated = last is not None and (cause.offset, cause.index) <= (last.offset, last.index)
        if first != record.value:
            self._report(f"two events {id}: {first!r} and {record.value!r}")
        if repeated:
            self.repeated += 1
            self.dropped[record.topic, record.partition].add(record.offset)
            return
        self._last[record.topic, record.partition] = cause
        if last is not None and cause.offset == last.offset and cause.count != last.count:
            self._report(f"a command was decided twice, and otherwise: {last} and {cause}")
        if last is not None and last.index != last.count - 1 and cause.offset != last.offset:
            self._report(f"events of the command {last} are not all there before those of {cause}")
        place = record.topic, record.partition, cause.offset
        self.decided[place] = self.decided.get(place, 0) + 1
        if "ce_retry" in record.headers and kind != ev.CommandRepeated.TYPE:
            self._outcome(record.headers["ce_command"], (cause.partition, cause.offset))
        for event in parts_of(ev.decode(kind, record.value)):
            if isinstance(event, ev.ThreadEvent):
                self._thread(event, record)

    def _outcome(self, command_id: str, place: tuple[int, int]) -> None:
        self.checks["a repeated command has one outcome"] += 1
        first = self._outcomes.setdefault(command_id, place)
        if first != place:
            self._report(f"command {command_id} was decided at {first}, and again at {place}")

    def _thread(self, event: Any, record: Record) -> None:
        thread_id: str = event.thread_id
        state = self.threads.get(thread_id) or ThreadState(thread_id=thread_id)
        self.checks["at most one dispatched run"] += 1
        match event:
            case ev.RunCreated():
                self.created[event.run_id] += 1
                if self.created[event.run_id] > 1:
                    self._report(f"run {event.run_id} was created twice")
                cron = event.metadata.get("cron_id")
                if cron is not None:
                    self.cron_runs[cron].append(event.run_id)
            case ev.RunDispatched():
                active = state.active
                if active is not None and active.run_id != event.run_id:
                    self._report(f"{event.run_id} was dispatched while {active.run_id} was")
                if event.run_id not in state.runs:
                    self._report(f"{event.run_id} was dispatched, and is not in flight")
                elif event.attempt != state.runs[event.run_id].attempt + 1:
                    self._report(f"{event.run_id} was dispatched as attempt {event.attempt}")
                self._attempts[event.run_id] = event.attempt
            case ev.RunEnded():
                self.checks["no final state is left"] += 1
                if event.run_id in self.ended or event.run_id not in state.runs:
                    self._report(f"{event.run_id} ended again: {event}")
                self.ended[event.run_id] = event
                self._attempts.pop(event.run_id, None)
                if event.webhook is not None:
                    self.webhooks.add(event.run_id)
                if event.values and not isinstance(event, ev.RunRolledBack):
                    self._values(event)
            case ev.RunDeleted():
                self.deleted.add(thread_id)
                self.ended[event.run_id] = event
                self._attempts.pop(event.run_id, None)
            case ev.ThreadDeleted():
                self.deleted.add(thread_id)
                self.steps.pop(thread_id, None)
                for run_id, _ in event.active:
                    self._attempts.pop(run_id, None)
            case _:
                pass
        self.threads[thread_id] = evolve(state, event, record.headers["ce_time"])

    def _values(self, event: Any) -> None:
        """Every step of every run counts once, in its order, and what earlier runs have left is still there."""
        self.checks["every step counts once"] += 1
        values = msgspec.json.decode(bytes(event.values))
        steps = values.get("steps", []) if isinstance(values, dict) else []
        counts: dict[str, int] = {}
        for run_id, index in steps:
            if counts.get(run_id, 0) != index:
                self._report(
                    f"thread {event.thread_id} has step {index} of {run_id} after {counts.get(run_id, 0)}: {steps}"
                )
                return
            counts[run_id] = index + 1
        before = self.steps.get(event.thread_id, [])
        if event.thread_id not in self.deleted and steps[: len(before)] != before:
            self._report(f"thread {event.thread_id} had {before} and has {steps}")
        self.steps[event.thread_id] = steps

    def _frames(self, record: Record) -> None:
        from langlog_schemas import frames

        event: Any = ev.decode(ev.RunFrames.TYPE, record.value)
        batch = frames.decode(event.frames)
        ids = self.frames[event.run_id].setdefault(event.attempt, [])
        known = set(ids)
        ids += [(f.ms, f.n) for f in batch.frames if not frames.private(f.event) and (f.ms, f.n) not in known]

    def in_flight(self) -> list[str]:
        return [run_id for state in self.threads.values() for run_id in state.runs]
