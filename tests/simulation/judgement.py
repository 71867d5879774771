"""Rules for clients' answers, for the read model, and for all of it at the end of a world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langlog_backbone.log import DECIDERS, TopicPartition
from langlog_backbone.log.partitioner import partition_of
from langlog_projector.listener import NoListener
from langlog_projector.projection import Projection
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause
from langlog_schemas.messages import Reply
from langlog_schemas.runs.ends import end_of

from .clients import CRON, StreamReader
from .stand_ins.memory_postgres import PostgresServer, Row, Tables
from .stand_ins.statements import statements

if TYPE_CHECKING:
    from .world import World


UNHEARD = frozenset({"redis", "unreachable", "pause"})
"""Faults in which messages of positions are lost or late: their names, or what these begin with."""


class Judge:
    def __init__(self, world: World) -> None:
        self._world = world
        self.checks = Counter[str]()
        self._folded: dict[tuple[str, int], int] = {}
        """How far the read model has ever been committed."""
        self._forgotten: set[str] = set()
        self._reference = Reference(world)
        world.postgres.on_commit.append(self._committed)

    def _committed(self, undo: Any) -> None:
        positions = self._world.postgres.tables["positions"]
        for name, key, _ in undo:
            if name == "positions":
                row = positions[key]
                self._folded[key] = max(self._folded.get(key, 0), row["offset"])
                self._world.ledger.note(f"{key}{row['offset']}")

    def lost(self, commits: int) -> None:
        self._world.ledger.note(f"lost {commits}")
        if not any(fault.partition(" ")[0] in UNHEARD for fault in self._world.faults):
            return
        rows = self._world.postgres.tables["runs"]
        self._forgotten |= {run_id for run_id in self._world.ledger.created if (run_id,) not in rows}

    def taken_for_gone(self, run_id: str) -> bool:
        """Whether a gateway may answer that a run in flight does not exist, and a client sends its request again.

        Known: when Postgres has lost commits, a gateway that could not hear of their positions before, because Redis was away or the
        gateway stood still, does not know what it no longer reads, until that is folded again.
        """
        ledger, thread_id = self._world.ledger, self._world.clients.threads[run_id]
        forgotten = run_id in self._forgotten and run_id not in ledger.ended and thread_id not in ledger.deleted
        self._world.marks["world.read_what_was_lost"] += forgotten
        return forgotten

    # answers

    def replied(self, command: cmd.Body, reply: Reply) -> None:
        """A reply says what the read model holds, or has held."""
        self.checks["replies say what the read model holds"] += 1
        places = self._world.ledger.commands.get(reply.command_id, [])
        topic = ev.RUN_EVENTS
        if isinstance(command, cmd.AssistantCommand):
            topic = ev.ASSISTANT_EVENTS
        elif isinstance(command, cmd.CronCommand):
            topic = ev.CRON_EVENTS
        if not any(self._event_folded(topic, part, offset) for part, offset in places):
            self._world.violate(f"the reply to {type(command).__name__} {reply.command_id} came before it was folded")

    def _event_folded(self, topic: str, part: int, offset: int) -> bool:
        """Whether the events of the command at this offset have been committed to the read model."""
        upto = self._folded.get((topic, part), 0)
        for record in self._world.log.slice((topic, part), 0, upto)[::-1]:
            if "ce_cause" in record.headers and Cause.parse(record.headers["ce_cause"]).offset == offset:
                return True
        return False

    def waited(self, run_id: str, answer: bytes) -> None:
        self.checks["waits end with the run"] += 1
        ledger = self._world.ledger
        thread_id = self._world.clients.threads[run_id]
        if run_id not in ledger.ended and thread_id not in ledger.deleted:
            self._world.violate(f"the wait for {run_id} ended with {answer!r}, and the run has not")

    def streamed(self, reader: StreamReader, *, resumable: bool) -> None:
        """A stream that has ended by itself has every event of a resumable run's last attempt."""
        self.checks["streams have no gap and no repetition"] += 1
        ledger, run_id = self._world.ledger, reader.run_id
        end = ledger.ended.get(run_id)
        thread_id = self._world.clients.threads.get(run_id, "")
        if thread_id in ledger.deleted or reader.refused:
            return
        if end is None:
            self._world.violate(f"the stream of {run_id} ended, and the run has not")
            return
        if (
            not resumable
            or not isinstance(end, ev.RunEnded)
            or not end.frame_count
            or isinstance(end, ev.RunRolledBack)
        ):
            return
        if end.webhook is None and thread_id.startswith("tmp"):
            return  # its recorded frames go with its thread
        expected = ledger.frames[run_id].get(end.attempt, [])
        received = [id for id in reader.ids if id in set(expected)]
        if received != expected:
            lost = [id for id in expected if id not in received]
            self._world.violate(
                f"the stream of {run_id} lacks {lost} of attempt {end.attempt}; missing={reader.missing}"
            )

    # the end

    def unfinished(self) -> str:
        """Return the work that is still under way; empty: none."""
        world = self._world
        if runs := world.ledger.in_flight():
            return f"runs {runs} are in flight"
        tables = world.postgres.committed_tables(("positions", "webhooks"))
        positions = tables["positions"]
        for partition in world.log.records:
            topic = partition[0]
            if topic in ev.FOLDED_TOPICS and positions.get(partition, {"offset": 0})["offset"] < world.log.end(
                partition
            ):
                return f"{partition} is not folded"
        for partition in world.log.records:
            if partition[0] == cmd.TOPIC and self._committed_to(partition) < world.log.end(partition):
                return f"the position in {partition} is not committed"
        if due := [w["run_id"] for w in tables["webhooks"].values() if w["next_attempt_at"] is not None]:
            return f"webhooks of {due} are due"
        return ""

    def _committed_to(self, partition: TopicPartition) -> int:
        group = self._world.log.groups.get(DECIDERS)
        return 0 if group is None else group.committed.get(partition, 0)

    async def at_the_end(self) -> None:
        for check in (self._acknowledged, self.read_model, self._statuses, self._fences, self._hooks, self._crons):
            await check()

    async def _acknowledged(self) -> None:
        ledger, clients = self._world.ledger, self._world.clients
        for command_id, command in clients.acknowledged.items():
            self.checks["every acknowledged command is decided once"] += 1
            topic = ev.RUN_EVENTS
            if isinstance(command, cmd.AssistantCommand):
                topic = ev.ASSISTANT_EVENTS
            elif isinstance(command, cmd.CronCommand):
                topic = ev.CRON_EVENTS
            places = ledger.commands.get(command_id, [])
            outcomes = [ledger.decided.get((topic, *place), 0) for place in places]
            if not any(outcomes):
                self._world.violate(f"{type(command).__name__} {command_id} was acknowledged, and has no event")
            if isinstance(command, cmd.CreateRun) and ledger.created[command.run_id] != 1:
                self._world.violate(
                    f"{command.run_id} was acknowledged, and created {ledger.created[command.run_id]} times"
                )

    async def read_model(self) -> None:
        """Compare the read model with the fold of the log, unless Postgres has lost what was compared before."""
        live = self._world.postgres.committed_tables()
        ends = {key: row["offset"] for key, row in live["positions"].items()}
        if not await self._reference.go_to(ends):
            return
        self.checks["read model is the fold of the log"] += 1
        if differs := live.same_as(self._reference.tables):
            self._world.violate(f"the read model is not the fold of the log: {differs}")

    async def _statuses(self) -> None:
        tables, ledger = self._world.postgres.committed_tables(), self._world.ledger
        for run_id, end in ledger.ended.items():
            self.checks["ends are in the read model"] += 1
            row = tables["runs"].get((run_id,))
            gone = (
                not isinstance(end, ev.RunEnded) or isinstance(end, ev.RunRolledBack) or end.thread_id in ledger.deleted
            )
            if row is not None and not gone and row["status"] != end_of(end).status:  # type: ignore[arg-type]
                self._world.violate(f"{run_id} ended as {end_of(end).status}, and reads {row['status']}")  # type: ignore[arg-type]

    async def _fences(self) -> None:
        """No record of an attempt counts behind its successor's dispatch, or the run's end."""
        tables = self._world.postgres.tables
        for part, late in self._world.ledger.past.items():
            self.checks["no record of a past attempt counts"] += len(late)
            for key, row in tables["checkpoints"].items():
                offset = row["log_position"] >> cp.POSITION_INDEX_BITS
                if self._partition_of(row["thread_id"]) == part and offset in late:
                    self._world.violate(f"checkpoint {key} is of a past attempt")

    def _partition_of(self, thread_id: str) -> int:
        return partition_of(thread_id, self._world.log.partitions)

    async def _hooks(self) -> None:
        world = self._world
        for run_id in sorted(world.ledger.webhooks):
            self.checks["webhooks are sent at least once"] += 1
            if not world.receiver.got[run_id] and world.receiver.tried[run_id] < world.settings.webhook_attempts:
                world.violate(
                    f"the webhook of {run_id} was sent {world.receiver.tried[run_id]} times, and never received"
                )

    async def _crons(self) -> None:
        world = self._world
        if world.clients.cron is None:
            return
        runs = world.ledger.cron_runs[CRON]
        self.checks["crons fire once"] += len(runs)
        advanced = sum(
            envelope.type_of(record.headers) == ev.CronAdvanced.TYPE
            for (topic, _), records in world.log.records.items()
            if topic == ev.CRON_EVENTS
            for record in records
        )
        if advanced and not runs:
            world.violate("a cron was moved on, and no run was made")


class _AtOnce:
    """A pool and a connection without a network, for the fold that the live one is compared with."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def acquire(self, **_: Any) -> _AtOnce:
        return self

    def transaction(self) -> _AtOnce:
        return self

    async def __aenter__(self) -> _AtOnce:
        return self

    async def __aexit__(self, *_: Any) -> None:
        return None

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        return [Row(row) for row in self._run(query, args)]

    async def execute(self, query: str, *args: Any) -> str:
        return f"DONE {self._run(query, args)}"

    async def executemany(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            self._run(query, tuple(row))

    def _run(self, query: str, args: tuple[Any, ...]) -> Any:
        act, _ = self._server.statements[query]
        self._server.tables.undo = []
        return act(self._server, *args)


class Reference:
    """The log folded record by record, without those that no consumer counts by the ledger's own judgement."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._server = PostgresServer(world.postgres.clock, statements())
        self._projection = Projection(
            _AtOnce(self._server),  # type: ignore[arg-type]
            self._refuse,
            NoListener(),
            world.settings.outcomes_kept_s,
        )

    @property
    def tables(self) -> Tables:
        return self._server.tables

    async def _refuse(self, bad: Any) -> None:
        self._world.violate(f"the log cannot be folded: {bad}")

    async def go_to(self, ends: dict[TopicPartition, int]) -> bool:
        """Fold up to these positions. False: it is further already."""
        projection, world = self._projection, self._world
        if fresh := [partition for partition in ends if partition not in projection.positions]:
            await projection.open(fresh)
        if any(end > ends.get(partition, -1) for partition, end in projection.positions.items()):
            return False
        for partition, end in ends.items():
            dropped = world.ledger.dropped[partition]
            begin = projection.positions[partition]
            for record in world.log.slice(partition, begin, end - begin):
                if record.offset in dropped:
                    self._pass(partition, record.offset + 1)
                else:
                    await projection.project([record])
        return True

    def _pass(self, partition: TopicPartition, offset: int) -> None:
        self._projection.positions[partition] = offset
        row = self._server.tables["positions"][partition]
        self._server.tables["positions"][partition] = {**row, "offset": offset}
