"""Deciding of single commands against the aggregates in memory, each within the trace that it belongs to.

A command that a client has repeated (`CommandMeta.retry`) is decided once: outcomes of the read model are looked up as its
key comes up, later ones are remembered here.

Belongs to one decider; not safe for concurrent use.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import msgspec
from langlog_backbone.process import tracing
from langlog_backbone.process.retry import READ_LIMIT_S
from langlog_backbone.process.unavailable import may_pass
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.envelope import CommandMeta

from .aggregates import Aggregates
from .decisions.assistants import decide_assistant, fold_assistant
from .decisions.crons import decide_cron, fold_cron
from .decisions.store import decide_store
from .decisions.thread_events import fold_thread
from .decisions.threads import decide_thread
from .effects import Decided, topic_of
from .parking.keys import ParkedKeys
from .read_model import ReadModel

RETRIES_REMEMBERED = 10_000


class CommandDecider:
    """``joins_deletions``: the deletion of a thread may share a record with the end of its run."""

    def __init__(self, aggregates: Aggregates, model: ReadModel, parked: ParkedKeys, *, joins_deletions: bool) -> None:
        self._aggregates, self._model, self._parked = aggregates, model, parked
        self._joins_deletions = joins_deletions
        self._retried: dict[str, None] = {}
        self._known_runs: set[str] = set()
        """Runs that retried commands about to be decided would create a second time."""

    def is_done(self, command_id: str) -> bool:
        """Return whether the command is known to have had its outcome."""
        return command_id in self._retried

    def note_done(self, command_id: str) -> None:
        self._retried[command_id] = None

    def forget(self, command_id: str) -> None:
        """Forget a command that could not be decided after all."""
        self._retried.pop(command_id, None)

    async def load(self, todo: Sequence[tuple[cmd.Command, CommandMeta]], internal_s: float = math.inf) -> None:
        """Load what these commands are decided against, unless it is in memory. Waits while Postgres is unavailable.

        ``internal_s``: see `ReadModel.sure`.
        """
        threads: set[str] = set()
        assistants: set[str] = set()
        crons: set[str] = set()
        retried = []
        runs = []
        for command, meta in todo:
            if isinstance(command, cmd.AssistantCommand):
                assistants.add(command.assistant_id)
            elif isinstance(command, cmd.CronCommand):
                crons.add(command.cron_id)
            elif isinstance(command, cmd.ThreadCommand) and not getattr(command, "fresh", False):
                threads.add(command.thread_id)
            if meta.retry and meta.id not in self._retried:
                retried.append(meta.id)
                if isinstance(command, cmd.CreateRun):
                    runs.append(command.run_id)
        parts = {meta.partition for _, meta in todo}
        for key in await self._model.sure(lambda: self._aggregates.load(threads, assistants, crons, parts), internal_s):
            self._parked.park(key)
        self._known_runs = set()
        if retried:
            outcomes, self._known_runs = await self._model.sure(
                lambda: self._aggregates.known(retried, runs, parts), internal_s
            )
            self._retried.update(dict.fromkeys(outcomes))

    async def loads_others(self) -> bool:
        """Return whether Postgres answers, for ids that nothing has, what `load` asks it, and reads some page of each table. If so, it
        counts as available."""
        try:
            with self._model.availability.attempt():
                async with asyncio.timeout(READ_LIMIT_S):
                    await self._aggregates.load([new_id()], [new_id()], [new_id()])
                    await self._aggregates.known([new_id()], [new_id()], ())
                    await self._aggregates.check_tables()
        except Exception as error:
            if not may_pass(error):
                raise
            return False
        return True

    def decide(self, command: cmd.Command, meta: CommandMeta) -> Decided:
        """Return the events of a command that `load` was called for. Raises whatever a decision raises."""
        if meta.traceparent is None or not tracing.on():
            return self._decide(command, meta)
        about: tracing.Attributes = {"messaging.kafka.offset": meta.offset, "langlog.subject": command.key}
        with tracing.span(f"decide {command.TYPE}", about, parent=meta.traceparent, kind="consumer") as span:
            decided = self._decide(command, meta)
            span.set({"langlog.events": " ".join(event.TYPE for event in decided.events)})
        return decided._replace(meta=msgspec.structs.replace(meta, traceparent=span.traceparent))

    def _decide(self, command: cmd.Command, meta: CommandMeta) -> Decided:
        if meta.retry:
            if meta.id in self._retried:
                repeated = ev.CommandRepeated(aggregate_id=command.key, command_id=meta.id, topic=topic_of(command))
                return Decided(meta, [repeated], None, None)
            self._retried[meta.id] = None
            if len(self._retried) > RETRIES_REMEMBERED:
                del self._retried[next(iter(self._retried))]
        match command:
            case cmd.WriteStore() | cmd.RefreshStore():
                return Decided(meta, decide_store(command), None, None)
            case cmd.CreateAssistant() | cmd.PatchAssistant() | cmd.SetLatestAssistant() | cmd.DeleteAssistant():
                cached = self._aggregates.assistant(command.assistant_id)
                events = decide_assistant(cached.state, command, meta)
                cached.state = fold_assistant(cached.state, events)
                return Decided(meta, events, None, cached)
            case cmd.CreateCron() | cmd.PatchCron() | cmd.AdvanceCron() | cmd.DeleteCron():
                cached = self._aggregates.cron(command.cron_id)
                events = decide_cron(cached.state, command, meta)
                cached.state = fold_cron(cached.state, events)
                return Decided(meta, events, None, cached)
            case cmd.ReleaseParked():
                raise TypeError("decided by `ParkedRelease`")
            case _:
                cached = self._aggregates.thread(command.thread_id)
                before: ThreadState = cached.state
                known = isinstance(command, cmd.CreateRun) and command.run_id in self._known_runs
                decided = decide_thread(before, command, meta, run_known=known)
                events = ev.joined(decided, deletions=self._joins_deletions)
                cached.state = fold_thread(before, events, meta.time)
                return Decided(meta, events, before, cached)
