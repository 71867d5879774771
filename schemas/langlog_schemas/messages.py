"""Messages through Redis, which may be lost: tasks, replies, lifecycle updates, controls, queries.

None of them is authoritative: a lost task is dispatched again, a lost reply is sent again when the receiver requests it.
All in msgpack, except that ``Raw`` members would be msgpack too: JSON is carried as bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A dispatched run, as a worker receives it: everything needed to begin, without a further query."""

    run_id: str
    thread_id: str
    attempt: int
    assistant_id: str
    graph_id: str
    kwargs: bytes
    """JSON (wire contract §5), without ``config.metadata``."""
    metadata: bytes
    """JSON: the run's merged metadata."""
    created_at: str
    temporary: bool = False
    fresh: bool = False
    """The thread has no checkpoint: the worker need not read one before the first step."""
    partition: int = 0
    read_after: int = -1
    """Offset in ``run-events``: the read model must have passed it before checkpoints are read."""
    frame_floor_ms: int = 0
    """Frame ids of this run start above this millisecond."""
    seq_floor: int = 0
    """Protocol numbers of this attempt start above this one."""
    actor: str | None = None
    dispatched_at: str = ""
    """When this attempt was dispatched, ISO 8601; empty: by an older release."""

    @property
    def id(self) -> str:
        """Name of the task in the hot queue."""
        return f"{self.run_id}:{self.attempt}"


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of a command, sent to the gateway that waits once the read model holds it.

    ``status`` 200 and the first event (``type`` and JSON ``body``), or the rejection's status and ``detail``.
    """

    command_id: str
    status: int = 200
    detail: str | None = None
    type: str = ""
    body: bytes = b""
    time: str = ""
    """Time of the event: ``created_at`` or ``updated_at`` of the changed object."""


class ResendReplies(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that projectors send the replies to these commands to ``reply_to`` again, since they may have been lost."""

    reply_to: str
    command_ids: list[str]


class LifecycleUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A lifecycle event of a thread that the read model now holds (``type``, JSON ``body``)."""

    thread_id: str
    type: str
    body: bytes
    time: str = ""


class ListChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The objects that one committed batch of the projection changed, as lists show them. Read by the feed of list changes."""

    steps: list[tuple[str, int, int, int]]
    """Topic, partition, and the partition's positions before and after the batch. Steps of a partition follow on each other:
    if a step begins after the end of the one before, a message was lost."""
    threads: list[str] = []
    relabelled: list[str] = []
    """Those threads whose metadata a client changed: access to them may have changed too."""
    runs: list[str] = []
    assistants: list[str] = []
    crons: list[str] = []
    removed_threads: dict[str, str | None] = {}
    """Thread -> its last metadata (JSON), which filters match to select the notified callers; None: it was too large to be sent."""
    removed_runs: list[tuple[str, str]] = []
    """(run, thread): the thread is still there."""
    removed_assistants: list[str] = []
    removed_crons: list[str] = []


class Control(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tells the worker that executes the run to stop it. ``action`` "drop": stop without a report, because the run was deleted."""

    thread_id: str
    run_id: str
    attempt: int
    action: str
    """interrupt, rollback or drop."""


class Query(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request to any worker for an answer that needs the graph object. The kind determines the JSON in ``body``."""

    id: str
    kind: str
    reply_to: str
    body: bytes
    deadline_ms: int = 0
    """Wall-clock time in milliseconds after which the requester no longer waits."""


class GraphHostInfo(msgspec.Struct, frozen=True):
    """The processes of Node beside a worker, which run graphs in JavaScript."""

    pids: list[int]
    """Ids of the processes."""
    rss_bytes: int
    """Their memory, as they last reported it."""
    jobs: int
    """Runs and queries that they hold."""
    starts: int
    """How often the worker has started one."""


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a worker process for operators, stored in Redis beside its lease."""

    host: str
    """Name of the machine."""
    pid: int
    """Id of the process."""
    started_ms: int
    """Start time, in milliseconds since 1970."""
    slots: int
    """Maximum number of concurrent runs."""
    graphs: list[str] = []
    """Graphs that it has loaded."""
    loops: int = 0
    """Event loops that run graph code."""
    blocked: list[str] = []
    """Graphs whose code has blocked such a loop within the last minutes."""
    graph_host: GraphHostInfo | None = None
    """None: no graph of the project is in JavaScript."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """How one loop of a process gets through to a server, where it once did not."""

    loop: str
    """Name of the loop, as in logs and metrics."""
    dependency: str
    """The server: `postgres`, `redis` or `log`."""
    failures: int
    """Calls that failed since the start of the process."""
    last_error: str
    """Class of the last error; what it says may quote what users wrote."""
    last_ms: int
    """When that was, in milliseconds since 1970."""


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a process that runs services, for operators, kept in Redis."""

    host: str
    """Name of the machine."""
    pid: int
    """Id of the process."""
    version: str
    """Version of langlog."""
    started_ms: int
    """Start time, in milliseconds since 1970."""
    reported_ms: int
    """When this was reported, in milliseconds since 1970."""
    services: dict[str, str | None]
    """Its services: why one makes no progress; null while it does."""
    trouble: list[Trouble] = []
    """Loops that once did not get through to a server, at most 20, the latest first."""


class ReplayQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A past run that is to run again in a sandbox, for any executor. Its parts go to the channel ``replay:<id>``."""

    id: str
    thread_id: str
    run_id: str
    checkpoint_id: str | None = None
    """Start from this checkpoint of the run instead of its input."""
    strict: bool = False
    """Compare generated ids of messages and interrupts too."""
    limit_s: float = 300.0
    """Seconds for the graph."""
    deadline_ms: int = 0
    """Wall-clock time in milliseconds after which the requester no longer waits for the replay to begin."""


ReplayKind = Literal["began", "step", "end", "refused", "beat"]


class ReplayPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The progress of a replay."""

    kind: ReplayKind
    body: bytes = b""
    """JSON of a step or of the result; for ``refused``, the reason as text."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``status`` 200 and ``body`` (JSON), or an HTTP status with ``detail``."""

    id: str
    status: int = 200
    detail: str | None = None
    body: bytes = b""


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_task = msgspec.msgpack.Decoder(Task).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
decode_resend_replies = msgspec.msgpack.Decoder(ResendReplies).decode
decode_lifecycle_update = msgspec.msgpack.Decoder(LifecycleUpdate).decode
decode_list_changes = msgspec.msgpack.Decoder(ListChanges).decode
decode_control = msgspec.msgpack.Decoder(Control).decode
decode_process_info = msgspec.msgpack.Decoder(ProcessInfo).decode
decode_worker_info = msgspec.msgpack.Decoder(WorkerInfo).decode
decode_replay_query = msgspec.msgpack.Decoder(ReplayQuery).decode
decode_replay_part = msgspec.msgpack.Decoder(ReplayPart).decode
decode_query = msgspec.msgpack.Decoder(Query).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
