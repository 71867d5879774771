"""A whole log in memory: commands of every family decided as deciders would, and workers that write in between (`drawn_journals`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from langlog_backbone.log import Record
from langlog_executor.decider.decisions.assistants import decide_assistant, fold_assistant
from langlog_executor.decider.decisions.crons import decide_cron, fold_cron
from langlog_executor.decider.decisions.store import decide_store
from langlog_executor.decider.decisions.thread_events import fold_thread
from langlog_executor.decider.decisions.threads import decide_thread
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.aggregates.assistant import AssistantState
from langlog_schemas.aggregates.cron import CronState
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import Cause, CommandMeta
from langlog_schemas.runs import results as run_results

from .histories import at

PARTITIONS = 2


def partition_of(key: str) -> int:
    """Keys part, and some meet."""
    return sum(key.encode()) % PARTITIONS


class Said(NamedTuple):
    """A worker's record of some run and attempt; of the one that is dispatched, if there is one and ``rightly``."""

    thread_id: str
    run_id: str
    attempt: int
    rightly: bool
    build: Callable[[str, str, int], ev.AnyEvent]


class Reported(NamedTuple):
    """The report about the dispatched run of the thread, if there is one."""

    thread_id: str
    build: Callable[[str, str, int], Any]


class Repeatable(NamedTuple):
    """A command that came with an ``Idempotency-Key``."""

    command: Any


class Step(NamedTuple):
    """One command, and its events."""

    command: Any
    meta: CommandMeta
    records: list[Record]


class Journal:
    """Appends as deciders and workers do; ``records`` in the order of appending, over all partitions."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.steps: list[Step] = []
        self.states: dict[tuple[str, str], Any] = {}
        self._ends: dict[tuple[str, int], int] = defaultdict(int)
        self._asked: dict[int, int] = defaultdict(int)
        self._made: set[str] = set()

    def play(self, history: list[Any]) -> Journal:
        for entry in history:
            match entry:
                case Said():
                    run_id, attempt = entry.run_id, entry.attempt
                    if entry.rightly:
                        run_id, attempt = self.active(entry.thread_id) or (run_id, attempt)
                    self.append(entry.build(entry.thread_id, run_id, attempt), at(len(self.records)))
                case Reported():
                    active = self.active(entry.thread_id)
                    if active is not None:
                        report = entry.build(entry.thread_id, *active)
                        for part in _result_parts(report):
                            self.append(part, at(len(self.records)))
                        self.ask(report)
                case Repeatable() if entry.command.run_id not in self._made:
                    self.ask(entry.command, retry=True)
                case Repeatable():
                    continue
                case cmd.CreateRun() if entry.run_id in self._made:
                    continue  # run ids are minted: no two commands make a run of the same id
                case _:
                    self.ask(entry)
        return self

    def active(self, thread_id: str) -> tuple[str, int] | None:
        """The run that a worker may hold, and its attempt."""
        state = self.states.get(("thread", thread_id))
        run = None if state is None else state.active
        return None if run is None else (run.run_id, run.attempt)

    def ask(self, command: Any, *, retry: bool = False) -> None:
        if isinstance(command, cmd.CreateRun):
            self._made.add(command.run_id)
        part = partition_of(command.key)
        offset, self._asked[part] = self._asked[part], self._asked[part] + 1
        meta = CommandMeta(f"c{part}-{offset}", at(len(self.records)), part, offset, retry=retry)
        events, self.states[place(command)] = decide(self.states.get(place(command)), command, meta)
        records = [
            self.append(event, meta.time, Cause(part, offset, n, len(events)), meta) for n, event in enumerate(events)
        ]
        self.steps.append(Step(command, meta, records))

    def append(
        self, event: ev.AnyEvent, time: str, cause: Cause | None = None, meta: CommandMeta | None = None
    ) -> Record:
        topic, part = type(event).TOPIC, partition_of(event.key)
        headers = envelope.headers(id="", type=event.TYPE, source="/test", time=time, subject=event.key, cause=cause)
        if cause is not None and cause.index == 0 and meta is not None:
            headers["ce_command"] = meta.id
            if meta.retry:
                headers["ce_retry"] = "1"
        return self.put(Record(topic, part, 0, event.key, ev.encode(event), headers))

    def put(self, record: Record) -> Record:
        """At the end of its partition."""
        partition = record.topic, record.partition
        placed = Record(*partition, self._ends[partition], record.key, record.value, record.headers)
        self._ends[partition] += 1
        self.records.append(placed)
        return placed


def place(command: Any) -> tuple[str, str]:
    match command:
        case cmd.AssistantCommand():
            return "assistant", command.assistant_id
        case cmd.CronCommand():
            return "cron", command.cron_id
        case cmd.StoreCommand():
            return "store", command.key
        case _:
            return "thread", command.thread_id


def decide(state: Any, command: Any, meta: CommandMeta) -> tuple[list[ev.AnyEvent], Any]:
    """Decide like a decider, for every family: return the events, and the state after them."""
    match command:
        case cmd.AssistantCommand():
            state = state or AssistantState(assistant_id=command.assistant_id)
            events = decide_assistant(state, command, meta)
            return events, fold_assistant(state, events)
        case cmd.CronCommand():
            state = state or CronState(cron_id=command.cron_id)
            events = decide_cron(state, command, meta)
            return events, fold_cron(state, events)
        case cmd.StoreCommand():
            return decide_store(command), None
        case _:
            state = state or ThreadState(thread_id=command.thread_id)
            events = decide_thread(state, command, meta)
            return events, fold_thread(state, events, meta.time)


def _result_parts(report: Any) -> list[ev.RunResultPart]:
    """Return the records that a worker appends before a report that refers to a result."""
    if not isinstance(report, cmd.FinishRun) or report.result is None:
        return []
    body = run_results.encode(run_results.RunResult(b'{"by":"large run"}', b'{"output":1}'))
    pieces = [body[:9], body[9:]]
    return [
        ev.RunResultPart(
            thread_id=report.thread_id,
            run_id=report.run_id,
            attempt=report.attempt,
            blob_id=report.result,
            index=index,
            count=len(pieces),
            body=piece,
        )
        for index, piece in enumerate(pieces)
    ]
