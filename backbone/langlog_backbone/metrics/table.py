"""Every metric of langlog, declared in one place: name, kind, labels, buckets, and the part that has it.

The reference page (``python -m langlog_backbone.metrics.reference``), the board and the alerts are held to this table by tests.
Label values are bounded: graph ids come from the project, types and causes from our own lists, tenants by `tenants.TopTenants`.

Concurrency: counters may be counted in any thread; each update takes a lock of its own. Counters on a hot path are bound
to their labels once (`Counter.labels` costs four times the count). Death: counters begin at 0 with their process, which Prometheus knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Kind = Literal["counter", "gauge", "histogram"]
Part = Literal["process", "gateway", "decider", "worker", "projector", "scheduler", "log", "postgres", "deployment"]
"""The part of a process that has the metric: ``deployment`` metrics are read by a gateway from Postgres, Redis and the log
for all processes."""
Merge = Literal["sum", "max"]


class Metric(NamedTuple):
    """A declared metric. ``merge``: how the values of several processes that one scrape shows become one."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...]
    part: Part
    merge: Merge = "sum"

    @property
    def series(self) -> tuple[str, ...]:
        """Return the names that a query uses."""
        if self.kind == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


TABLE: dict[str, Metric] = {}
REGISTRY = CollectorRegistry(auto_describe=False)
"""The metrics that code counts directly; the others are created when they are read (`exposition`)."""

QUICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Buckets in seconds for single steps: an append, a batch."""
WAIT_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
"""Buckets in seconds for waits of clients."""
REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


def _declared(
    name: str, kind: Kind, text: str, labels: Sequence[str], part: Part, merge: Merge = "sum"
) -> tuple[str, str, Sequence[str]]:
    assert name not in TABLE, name
    TABLE[name] = Metric(name, kind, text, tuple(labels), part, merge)
    return name, text, labels


def _counter(name: str, text: str, labels: Sequence[str] = (), *, part: Part) -> Counter:
    return Counter(*_declared(name, "counter", text, labels, part), registry=REGISTRY)


def _gauge(name: str, text: str, labels: Sequence[str] = (), *, part: Part, merge: Merge = "sum") -> Gauge:
    return Gauge(*_declared(name, "gauge", text, labels, part, merge), registry=REGISTRY)


def _histogram(
    name: str, text: str, labels: Sequence[str] = (), *, part: Part, buckets: Sequence[float] = WAIT_S
) -> Histogram:
    return Histogram(*_declared(name, "histogram", text, labels, part), registry=REGISTRY, buckets=buckets)


def _read(name: str, kind: Kind, text: str, labels: Sequence[str] = (), *, part: Part, merge: Merge = "sum") -> str:
    """Declare a metric whose value a source of `exposition` reads."""
    return _declared(name, kind, text, labels, part, merge)[0]


# --- every process -----------------------------------------------------------------------------

INFO = _read(
    "langlog_info", "gauge", "1; the version of langlog that the process runs", ["version"], part="process", merge="max"
)
READY = _read(
    "langlog_service_ready",
    "gauge",
    "1 while a service of the process makes progress, 0 while it does not",
    ["service"],
    part="process",
)
UNAVAILABLE = _read(
    "langlog_unavailable",
    "gauge",
    "1 while a loop does not get through to a server",
    ["loop", "dependency"],
    part="process",
    merge="max",
)
UNAVAILABLE_ATTEMPTS = _read(
    "langlog_unavailable_attempts_total",
    "counter",
    "Calls that failed because a server was unavailable",
    ["loop", "dependency"],
    part="process",
)
PYTHON = _read(
    "python_info",
    "gauge",
    "The Python that the process runs on",
    ["version"],
    part="process",
    merge="max",
)
COLLECTIONS = _read(
    "python_gc_collections_total", "counter", "Garbage collections of each generation", ["generation"], part="process"
)
CPU = _read("process_cpu_seconds_total", "counter", "User and system CPU time of the process", part="process")
STARTED = _read(
    "process_start_time_seconds", "gauge", "Start of the process since the epoch", part="process", merge="max"
)
RESIDENT = _read("process_resident_memory_bytes", "gauge", "Resident memory of the process", part="process")
FILES = _read("process_open_fds", "gauge", "Files and sockets that the process has open", part="process")

# --- the log, Postgres --------------------------------------------------------------------------

APPENDS = _histogram(
    "langlog_log_append_seconds",
    "Seconds until an append was durable: with the embedded log its commit, with Kafka the acknowledgement of all in-sync replicas",
    ["log"],
    part="log",
    buckets=QUICK_S,
)
APPENDED_RECORDS = _counter("langlog_log_records_appended_total", "Records appended", ["log"], part="log")
APPENDED_BYTES = _counter("langlog_log_bytes_appended_total", "Bytes of their bodies", ["log"], part="log")
APPEND_FAILURES = _counter(
    "langlog_log_append_failures_total",
    "Appends that failed, or of which is not known whether they did",
    ["log"],
    part="log",
)
COMMITS = _histogram(
    "langlog_log_commit_seconds",
    "Seconds of one transaction of the embedded log with its fsync, without the wait for other processes",
    part="log",
    buckets=QUICK_S,
)
FETCHES = _histogram(
    "langlog_log_fetch_seconds", "Seconds of a look-up of records by position on Kafka", part="log", buckets=QUICK_S
)
DELIVERIES = _histogram(
    "langlog_log_delivery_seconds",
    "Seconds from the append of the oldest record of a batch until a group has read it",
    ["group"],
    part="log",
)
CONNECTIONS = _read(
    "langlog_postgres_connections",
    "gauge",
    "Connections to Postgres of the process: resting (kept for single statements), or open at all",
    ["state"],
    part="postgres",
)
STATEMENTS_WAITING = _read(
    "langlog_postgres_statements_waiting", "gauge", "Statements that wait for a free connection", part="postgres"
)

# --- the gateway --------------------------------------------------------------------------------

REQUESTS = _read(
    "lg_api_http_requests_total",
    "counter",
    "Requests answered; status 499 is a client that left",
    ["method", "path", "status"],
    part="gateway",
)
LATENCY = _read(
    "lg_api_http_requests_latency",
    "histogram",
    "Seconds until the answer was complete; a stream counts until its end",
    ["method", "path", "status"],
    part="gateway",
)
TENANT_REQUESTS = _read(
    "langlog_tenant_requests_total",
    "counter",
    "Requests of the busiest callers by identity, the others together (LANGLOG_METRICS_TENANTS)",
    ["tenant"],
    part="gateway",
)
STREAMS_OPEN = _gauge("langlog_streams_open", "Streams and WebSockets that clients read", part="gateway")
STREAM_WRITES = _counter(
    "langlog_stream_writes_total", "Writes to streams: one event, or several that came together", part="gateway"
)
STREAM_BYTES = _counter("langlog_stream_bytes_total", "Bytes written to streams, before compression", part="gateway")
SLOW_READERS = _counter(
    "langlog_stream_slow_readers_total", "Streams that were ended because their client read too slowly", part="gateway"
)
MISSING_EVENTS = _read(
    "langlog_stream_events_missing_total",
    "counter",
    "Events that streams passed over because neither Redis nor the log has them",
    part="gateway",
)

# --- the decider --------------------------------------------------------------------------------

COMMANDS = _counter(
    "langlog_commands_total",
    "Commands decided: accepted, unchanged (nothing was to be done), rejected, or repeated",
    ["type", "outcome"],
    part="decider",
)
DECIDING = _histogram(
    "langlog_decider_batch_seconds",
    "Seconds from reading a batch of commands until its events were appended",
    part="decider",
    buckets=QUICK_S,
)
DECIDER_LAG = _gauge(
    "langlog_decider_lag_seconds",
    "Age of the oldest command that a decider has read and not decided; 0: none",
    part="decider",
    merge="max",
)
RUNS_CREATED = _counter("langlog_runs_created_total", "Runs created", ["graph"], part="decider")
TENANT_RUNS = _read(
    "langlog_tenant_runs_total",
    "counter",
    "Runs of the busiest callers by identity, the others together (LANGLOG_METRICS_TENANTS)",
    ["tenant"],
    part="decider",
)
DISPATCHES = _counter(
    "langlog_attempts_dispatched_total",
    "Attempts dispatched; every reason but ready and due is an attempt after one that was lost or handed back",
    ["graph", "reason"],
    part="decider",
)
RUNS_ENDED = _counter(
    "langlog_runs_ended_total",
    "Runs that ended, by outcome and cause: an error class of langlog, `graph` for errors of the graph's own code, or why it stopped",
    ["graph", "outcome", "cause"],
    part="decider",
)
RUN_SECONDS = _histogram("langlog_run_seconds", "Seconds from a run's creation to its end", ["graph"], part="decider")

# --- workers ------------------------------------------------------------------------------------

WORKER_PROCESSES = _read(
    "langlog_worker_processes", "gauge", "Worker processes of the executor that answer", part="worker"
)
SLOTS = _gauge("langlog_worker_slots", "Runs that the worker processes can hold at once", part="worker")
HELD = _gauge("langlog_worker_runs", "Runs that they hold", part="worker")
LOOPS = _gauge("langlog_worker_loops", "Event loops that run graphs", part="worker")
BLOCKED = _gauge("langlog_worker_blocked_graphs", "Graphs that block an event loop of a worker", part="worker")
HOST_RSS = _gauge(
    "langlog_graph_host_rss_bytes", "Memory of the processes of Node that run graphs in JavaScript", part="worker"
)
HOST_JOBS = _gauge("langlog_graph_host_jobs", "Runs and questions that they hold", part="worker")
HOST_STARTS = _gauge("langlog_graph_host_starts", "Times that the worker processes have started one", part="worker")
QUEUE_WAIT = _histogram(
    "langlog_queue_wait_seconds",
    "Seconds from an attempt's dispatch until a worker claimed it",
    ["graph"],
    part="worker",
)
FIRST_FRAME = _histogram(
    "langlog_first_frame_seconds",
    "Seconds from an attempt's claim until the first event of its graph was streamed",
    ["graph"],
    part="worker",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0),
)
FRAMES = _counter("langlog_frames_published_total", "Events of streams that workers published", part="worker")
FRAMES_LOST = _counter(
    "langlog_frames_lost_total",
    "Events of streams that live readers did not get because Redis was unavailable; those of resumable runs come from the log",
    part="worker",
)
ATTEMPTS_ENDED = _counter(
    "langlog_attempts_ended_total",
    "Attempts that ended on a worker, by how: the run's outcome, handed back, or dropped",
    ["graph", "status"],
    part="worker",
)
ATTEMPT_SECONDS = _histogram(
    "langlog_attempt_seconds", "Seconds from an attempt's claim to its end", ["graph"], part="worker"
)

# --- the projector ------------------------------------------------------------------------------

FOLDED = _counter("langlog_events_folded_total", "Events folded into the read model", ["topic"], part="projector")
FOLDING = _histogram(
    "langlog_projector_batch_seconds", "Seconds of folding and writing one batch", part="projector", buckets=QUICK_S
)
PROJECTOR_LAG = _gauge(
    "langlog_projector_lag_seconds",
    "Age of the oldest event that a projector has read and not written; 0: none",
    part="projector",
    merge="max",
)
DEAD_LETTERS = _counter(
    "langlog_dead_letters_total",
    "Records published as dead letters, by the service that could not handle them",
    ["by"],
    part="log",
)

# --- the scheduler ------------------------------------------------------------------------------

WEBHOOK_ATTEMPTS = _counter(
    "langlog_webhook_attempts_total",
    "Attempts to deliver a webhook: delivered, failed (tried again), or given up",
    ["outcome"],
    part="scheduler",
)
WEBHOOK_SECONDS = _histogram(
    "langlog_webhook_seconds",
    "Seconds that a receiver took to answer, or the attempt to fail",
    part="scheduler",
    buckets=REQUEST_S,
)
CRONS_FIRED = _counter(
    "langlog_crons_total",
    "Due times of crons: fired, or missed (too late to fire)",
    ["outcome"],
    part="scheduler",
)
CRON_LATENESS = _histogram("langlog_cron_late_seconds", "Seconds by which a due time fired late", part="scheduler")
LEASES_LOST = _counter("langlog_leases_lost_total", "Attempts whose worker's lease ran out", part="scheduler")
DISPATCHES_LOST = _counter(
    "langlog_dispatches_lost_total", "Attempts dispatched again because Redis had lost them", part="scheduler"
)

# --- the whole deployment, as gateways read it ----------------------------------------------------

WORKERS_MAX = _read(
    "lg_api_workers_max", "gauge", "Runs that all living workers can hold at once", part="deployment", merge="max"
)
WORKERS_ACTIVE = _read("lg_api_workers_active", "gauge", "Runs that they hold", part="deployment", merge="max")
WORKERS_AVAILABLE = _read("lg_api_workers_available", "gauge", "The difference", part="deployment", merge="max")
WORKERS = _read(
    "langlog_workers",
    "gauge",
    "Worker processes with a lease: alive, or silent (beyond its lease)",
    ["state"],
    part="deployment",
    merge="max",
)
QUEUE_RUNS = _read(
    "langlog_queue_runs",
    "gauge",
    "Runs in flight: running, waiting (only a worker is missing), blocked (by an earlier run of the thread), delayed",
    ["graph", "state"],
    part="deployment",
    merge="max",
)
QUEUE_OLDEST = _read(
    "langlog_queue_oldest_seconds",
    "gauge",
    "Seconds that the oldest dispatched run has waited for a worker; 0: none waits",
    ["graph"],
    part="deployment",
    merge="max",
)
QUEUE_TASKS = _read(
    "langlog_queue_tasks", "gauge", "Tasks in the hot queue that no worker has claimed", part="deployment"
)
READER_LAG = _read(
    "langlog_reader_lag_records",
    "gauge",
    "Records of a topic that a group of readers has not read",
    ["group", "topic"],
    part="deployment",
    merge="max",
)
PARKED_KEYS = _read(
    "langlog_parked_keys", "gauge", "Keys parked behind a record that cannot be handled", part="deployment", merge="max"
)
PARKED_RECORDS = _read("langlog_parked_records", "gauge", "Records that wait there", part="deployment", merge="max")
WEBHOOKS_WAITING = _read(
    "langlog_webhooks_waiting", "gauge", "Deliveries that are not settled", part="deployment", merge="max"
)
WEBHOOKS_LATE = _read(
    "langlog_webhooks_late_seconds",
    "gauge",
    "Seconds by which the oldest delivery is overdue; 0: none",
    part="deployment",
    merge="max",
)
WEBHOOKS_GIVEN_UP = _read(
    "langlog_webhooks_given_up",
    "gauge",
    "Deliveries that were given up, and neither sent again nor, a week later, forgotten",
    part="deployment",
    merge="max",
)
CRONS_DUE = _read("langlog_crons_due", "gauge", "Crons whose time has come", part="deployment", merge="max")
CRONS_LATE = _read(
    "langlog_crons_late_seconds",
    "gauge",
    "Seconds by which the oldest due cron is late; 0: none",
    part="deployment",
    merge="max",
)
REDIS_USED = _read("langlog_redis_used_bytes", "gauge", "Memory that Redis uses", part="deployment", merge="max")
REDIS_MAX = _read(
    "langlog_redis_max_bytes", "gauge", "Memory that Redis may use; 0: no limit", part="deployment", merge="max"
)
REDIS_FRAMES = _read(
    "langlog_redis_frames_bytes", "gauge", "Stream events of runs that Redis keeps", part="deployment", merge="max"
)
REDIS_STREAMS = _read(
    "langlog_redis_frames_streams", "gauge", "Threads whose stream events Redis keeps", part="deployment", merge="max"
)
REDIS_DROPPED = _read(
    "langlog_redis_frames_dropped_total",
    "counter",
    "Streams removed or halved for the bound",
    part="deployment",
    merge="max",
)
