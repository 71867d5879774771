"""Every setting of langlog: one environment variable each, with unit and default.

Names that the contract gives (API.md section 17) are used as they are; langlog's own begin with ``LANGLOG_``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

import msgspec


class SettingError(ValueError):
    """A variable holds what it must not; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    log_uri: str = ""
    """LOG_URI: the log, ``sqlite:///path`` or ``kafka://host:port[,host:port…]``; unset: embedded (``langlog dev`` alone)."""
    database_uri: str = ""
    """DATABASE_URI, POSTGRES_URI: Postgres 14 or newer for the read model; unset: embedded (``langlog dev`` alone)."""
    redis_uri: str = ""
    """REDIS_URI: Redis 6.2 or newer, ``redis://…`` or ``unix://…``; unset: embedded (``langlog dev`` alone)."""
    redis_prefix: str = "langlog:"
    """REDIS_KEY_PREFIX: goes before every key and channel."""
    data_dir: Path = Path(".langlog")
    """LANGLOG_DATA_DIR: where the embedded parts keep everything."""
    project: Path = Path("langgraph.json")
    """LANGLOG_PROJECT: the langgraph.json."""

    kafka_security: str = "PLAINTEXT"
    """LANGLOG_KAFKA_SECURITY: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    """LANGLOG_KAFKA_SASL_MECHANISM: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    kafka_username: str = ""
    """LANGLOG_KAFKA_USERNAME: for SASL."""
    kafka_password: str = ""
    """LANGLOG_KAFKA_PASSWORD: for SASL."""
    kafka_ca_file: str = ""
    """LANGLOG_KAFKA_CA_FILE: PEM certificates that the brokers' are checked against; unset: those of the system."""
    kafka_cert_file: str = ""
    """LANGLOG_KAFKA_CERT_FILE: PEM certificate of this client, where brokers ask for one."""
    kafka_key_file: str = ""
    """LANGLOG_KAFKA_KEY_FILE: its private key, PEM."""

    topic_prefix: str = ""
    """LANGLOG_TOPIC_PREFIX: goes before every topic and group name (dots and dashes are fine)."""
    partitions: int = 32
    """LANGLOG_PARTITIONS: of every topic, fixed for the life of the log."""
    replication_factor: int = 1
    """LANGLOG_REPLICATION_FACTOR: of topics that langlog makes."""
    production: bool = False
    """LANGLOG_PRODUCTION: refuse topics with weaker settings than needed (replication, min ISR, retention), and a gateway without
    authentication on an address that other machines reach."""
    max_record_bytes: int = 16_000_000
    """LANGLOG_MAX_RECORD_BYTES: a checkpoint body over this is split over several records."""
    append_deadline_s: float = 30.0
    """LANGLOG_APPEND_DEADLINE_SECS: after this an append is unknown."""
    group_session_s: float = 6.0
    """LANGLOG_GROUP_SESSION_SECS: a silent decider or projector loses its partitions after this. Kafka's brokers take no less than
    their ``group.min.session.timeout.ms``, 6 s unless it is set."""

    encryption: Literal["off", "read", "on"] = "off"
    """LANGLOG_ENCRYPTION: ``on`` encrypts what the log holds of threads, each under a key of its own (docs/erasure.md);
    ``read`` only reads what was encrypted before."""
    master_key: str = ""
    """LANGLOG_MASTER_KEY: 32 bytes in base64 that wrap the keys of threads; unset: they are in Postgres as they are. Several, with
    commas between them: the first wraps, all unwrap (``langlog keys rewrap``)."""
    secret: str = ""
    """LANGLOG_SECRET: at least 16 characters that nobody can guess, the same for all services: seals callers' credentials that runs need,
    and makes ids of requests with an Idempotency-Key unknowable. Several, with commas between them: the first is used, all open.
    Unset: made once and kept in Postgres (LANGLOG_KEYS_SCHEMA), or beside an embedded log."""
    keys_schema: str = "langlog_keys"
    """LANGLOG_KEYS_SCHEMA: the Postgres schema of the keys of threads and of callers' sealed credentials; never rebuilt, to be kept
    as long as the log."""

    postgres_pool_size: int = 10
    """LANGGRAPH_POSTGRES_POOL_MAX_SIZE: connections of one process."""
    read_timeout_s: float = 10.0
    """LANGLOG_READ_TIMEOUT_SECS: a gateway's read that Postgres has not answered by then is 503 with Retry-After."""
    projector_give_up_s: float = 20.0
    """LANGLOG_PROJECTOR_GIVE_UP_SECS: a projector to which Postgres is unavailable for this long leaves its partitions to others."""
    projection: str = "langlog_v4"
    """LANGLOG_PROJECTION: the Postgres schema of the read model."""

    host: str = "127.0.0.1"
    """LANGLOG_HOST: address that the gateway and the health port listen on."""
    port: int = 2024
    """PORT: that the gateway listens on."""
    health_port: int = 0
    """LANGLOG_HEALTH_PORT: a service alone answers ``GET /ok`` here; 0: nowhere."""
    tls_cert_file: str = ""
    """LANGLOG_TLS_CERT_FILE: PEM certificate (and chain) with which the gateway serves HTTPS; unset: it serves HTTP."""
    tls_key_file: str = ""
    """LANGLOG_TLS_KEY_FILE: the certificate's private key, PEM; unset: it is in the certificate's file."""
    mount_prefix: str = ""
    """MOUNT_PREFIX: path before all routes."""
    cors_allow_origins: str = ""
    """CORS_ALLOW_ORIGINS: origins that browsers may call from, comma separated; ``*``: any. Unset: any with authentication; without it
    ``localhost``, ``127.0.0.1``, ``[::1]`` and the hosted studio."""
    studio_url: str = ""
    """LANGLOG_STUDIO_URL: a Studio of your own, which may call a server without authentication beside the hosted one."""
    allowed_hosts: str = ""
    """LANGLOG_ALLOWED_HOSTS: without authentication, names beside its own address that this server may be reached by, comma
    separated; ``*.example.com``: all names below; ``*``: any."""
    allow_unauthenticated: bool = False
    """LANGLOG_ALLOW_UNAUTHENTICATED: something in front of this gateway authenticates its callers: do not warn, and with
    LANGLOG_PRODUCTION do not refuse, when the project configures no authentication."""
    max_metadata_bytes: int = 262_144
    """LANGLOG_MAX_METADATA_BYTES: JSON of the metadata in one request, and of an object after a PATCH; 422 beyond. Each change writes all of it."""
    max_config_bytes: int = 1_000_000
    """LANGLOG_MAX_CONFIG_BYTES: JSON of ``config``, and of ``context``, in one request; 422 beyond."""
    max_body_bytes: int = 10_000_000
    """LANGLOG_MAX_BODY_BYTES: a larger request body is 413, as it arrives and unpacked."""
    body_timeout_s: float = 60.0
    """LANGLOG_BODY_TIMEOUT_SECS: a request body that has not arrived whole by then is 408."""
    outcomes_kept_s: float = 604_800.0
    """LANGLOG_IDEMPOTENCY_SECS: an Idempotency-Key is known for this long (behind the newest of its partition of the log)."""
    reply_timeout_s: float = 30.0
    """LANGLOG_REPLY_TIMEOUT_SECS: then the client gets 504; the command is in the log all the same."""
    heartbeat_s: float = 5.0
    """LANGLOG_HEARTBEAT_SECS: of SSE and blocking endpoints."""
    stream_buffer_frames: int = 10_000
    """LANGLOG_STREAM_BUFFER_FRAMES: a reader for whom more stream events wait is cut off."""
    stream_buffer_bytes: int = 50_000_000
    """LANGLOG_STREAM_BUFFER_BYTES: the same, by their size."""
    max_streams: int = 10_000
    """LANGLOG_MAX_STREAMS: open streams of one gateway; one more is 429."""
    max_filter_members: int = 200
    """LANGLOG_MAX_FILTER_MEMBERS: of the filter of one store search, nested ones included; more are 422."""
    stream_check_s: float = 60.0
    """LANGLOG_STREAM_CHECK_SECS: with custom authentication the project's handlers are asked this often, in seconds, whether the caller
    of an open stream may still read the thread; besides when the thread's metadata changes."""
    max_streams_per_user: int = 1_000
    """LANGLOG_MAX_STREAMS_PER_USER: of those, at most so many of one authenticated user; one more is 429."""
    max_subscriptions: int = 64
    """LANGLOG_MAX_SUBSCRIPTIONS: of one WebSocket."""
    max_socket_message_bytes: int = 4_000_000
    """LANGLOG_MAX_SOCKET_MESSAGE_BYTES: a larger message of a client closes its WebSocket with 1009."""
    socket_ping_s: float = 20.0
    """LANGLOG_SOCKET_PING_SECS: between pings to a silent WebSocket; half of that later without an answer it is gone; 0: none."""
    max_queued_runs: int = 100_000
    """LANGLOG_MAX_QUEUED_RUNS: pending runs of the whole server; one more is 429; 0: no limit."""
    max_queued_runs_per_user: int = 25_000
    """LANGLOG_MAX_QUEUED_RUNS_PER_USER: pending runs of one authenticated user; one more is 429; 0: no limit."""
    max_delay_s: float = 7_776_000.0
    """LANGLOG_MAX_DELAY_SECS: a run that is to begin later than this from now (``after_seconds``) is 422."""
    max_page: int = 10_000
    """LANGLOG_MAX_PAGE: entries of one answer that lists runs or store items; searches take at most 1,000 in any case."""
    max_answer_bytes: int = 100_000_000
    """LANGLOG_MAX_ANSWER_BYTES: largest state or page of a history that is answered, in bytes of JSON; a larger one is 413."""
    audit_page_bytes: int = 8_000_000
    """LANGLOG_AUDIT_PAGE_BYTES: records read for one page of a thread's events; a page over it is cut short."""
    base_url: str = ""
    """LANGLOG_BASE_URL: where the scheduler and workers reach a gateway, for webhooks with relative addresses and for graphs'
    clients without an address; ``langlog dev`` knows it."""

    workers: int = 1
    """LANGLOG_WORKERS: worker processes of one executor."""
    worker_start_s: float = 120.0
    """LANGLOG_WORKER_START_SECS: a worker process that has not imported the graphs by then has failed to start."""
    debug_port: int = 0
    """LANGLOG_DEBUG_PORT: port on 127.0.0.1 on which the worker process waits for a debugger (needs debugpy and one worker);
    0: none."""
    debug_wait: bool = False
    """LANGLOG_DEBUG_WAIT: the worker imports the graphs once a debugger is attached."""
    jobs_per_worker: int = 128
    """N_JOBS_PER_WORKER: runs at once in one worker process."""
    job_timeout_s: float = 86_400.0
    """BG_JOB_TIMEOUT_SECS: a run that takes longer ends as ``timeout``."""
    max_attempts: int = 3
    """BG_JOB_MAX_RETRIES: attempts of a run that lost its worker, in all."""
    lease_s: float = 10.0
    """LANGLOG_LEASE_SECS: a worker that has not renewed for this long is taken for dead."""
    drain_s: float = 10.0
    """LANGLOG_DRAIN_SECS: how long a stopping worker lets runs reach a step boundary."""
    stop_s: float = 0.0
    """LANGLOG_STOP_SECS: a process that was told to stop has ended after this, whatever hangs or is unavailable; 0: twice
    ``LANGLOG_DRAIN_SECS``, and 10 more."""
    frame_retention: int = 10_000
    """LANGLOG_FRAME_RETENTION: frame batches kept in Redis for one thread."""
    frames_max_bytes: int = 256_000_000
    """LANGLOG_FRAMES_MAX_BYTES: frames of all runs kept in Redis, in bytes; over it the oldest go first, and those of runs that are
    followed last. Where Redis has a ``maxmemory``, at most half of that is used."""
    frames_kept_s: float = 3_600.0
    """LANGLOG_FRAMES_KEPT_SECS: Redis forgets the frames of a thread this long after its last frame."""
    frames_unfollowed_s: float = 120.0
    """LANGLOG_FRAMES_UNFOLLOWED_SECS: the same for a run that has ended, and that nobody followed."""
    sweep_s: float = 5.0
    """LANGLOG_SWEEP_SECS: between two looks at leases and lost dispatches."""

    embed_timeout_s: float = 60.0
    """LANGLOG_EMBED_TIMEOUT_SECS: how long one call of ``store.index.embed`` may take."""

    webhook_secret: str = ""
    """LANGLOG_WEBHOOK_SECRET: signs webhooks (HMAC-SHA256; ``whsec_`` and base64, or any text); unset: no signature."""
    webhook_attempts: int = 3
    """LANGLOG_WEBHOOK_ATTEMPTS: tries to deliver one webhook, in all."""
    webhook_timeout_s: float = 10.0
    """LANGLOG_WEBHOOK_TIMEOUT_SECS: a receiver that has not answered by then has failed."""
    webhook_backoff_s: float = 1.0
    """LANGLOG_WEBHOOK_BACKOFF_SECS: the second try comes within this, each further one within twice as much (random)."""
    webhook_concurrency: int = 16
    """LANGLOG_WEBHOOK_CONCURRENCY: webhooks that one scheduler delivers at once."""
    webhook_concurrency_per_user: int = 4
    """LANGLOG_WEBHOOK_CONCURRENCY_PER_USER: of those, at most so many of the runs of one authenticated user: receivers that answer
    slowly hold back their own user's webhooks alone."""
    webhook_block_private: bool = False
    """LANGLOG_WEBHOOK_BLOCK_PRIVATE: refuse private networks (10.0.0.0/8 and the like) as well; loopback, link-local
    and other special ranges are refused in any case."""

    cron_grace_s: float = 300.0
    """LANGLOG_CRON_GRACE_SECS: the last time that a cron missed in a downtime is made up for when it is not older."""

    cron_max_lag_s: float = 10.0
    """LANGLOG_CRON_MAX_LAG_SECS: crons do not fire while commands take longer than this to be decided and folded."""
    cron_min_interval_s: float = 1.0
    """LANGLOG_CRON_MIN_INTERVAL_SECS: a cron whose schedule has two times closer together is 422."""
    max_crons_per_owner: int = 1_000
    """LANGLOG_MAX_CRONS_PER_OWNER: crons of one identity (without authentication: of all callers together); one more is 422;
    0: no limit."""
    crons_enabled: bool = True
    """FF_CRONS_ENABLED: false: the scheduler fires no cron (they are kept, and fire again from when this is true)."""

    studio_api_key: str = ""
    """LANGLOG_STUDIO_API_KEY: with custom authentication, who sends it as ``x-api-key`` with ``x-auth-scheme: langsmith`` is the
    Studio user; unset: nobody is."""

    log_level: str = "info"
    """LOG_LEVEL: debug, info, warning, error or critical."""
    log_json: bool = False
    """LOG_JSON: what the process logs is one JSON object a line."""


VARIABLES: dict[str, tuple[str, ...]] = {
    "log_uri": ("LOG_URI",),
    "database_uri": ("DATABASE_URI", "POSTGRES_URI"),
    "redis_uri": ("REDIS_URI",),
    "redis_prefix": ("REDIS_KEY_PREFIX",),
    "data_dir": ("LANGLOG_DATA_DIR",),
    "project": ("LANGLOG_PROJECT",),
    "kafka_security": ("LANGLOG_KAFKA_SECURITY",),
    "kafka_sasl_mechanism": ("LANGLOG_KAFKA_SASL_MECHANISM",),
    "kafka_username": ("LANGLOG_KAFKA_USERNAME",),
    "kafka_password": ("LANGLOG_KAFKA_PASSWORD",),
    "kafka_ca_file": ("LANGLOG_KAFKA_CA_FILE",),
    "kafka_cert_file": ("LANGLOG_KAFKA_CERT_FILE",),
    "kafka_key_file": ("LANGLOG_KAFKA_KEY_FILE",),
    "topic_prefix": ("LANGLOG_TOPIC_PREFIX",),
    "partitions": ("LANGLOG_PARTITIONS",),
    "replication_factor": ("LANGLOG_REPLICATION_FACTOR",),
    "production": ("LANGLOG_PRODUCTION",),
    "max_record_bytes": ("LANGLOG_MAX_RECORD_BYTES",),
    "append_deadline_s": ("LANGLOG_APPEND_DEADLINE_SECS",),
    "group_session_s": ("LANGLOG_GROUP_SESSION_SECS",),
    "encryption": ("LANGLOG_ENCRYPTION",),
    "master_key": ("LANGLOG_MASTER_KEY",),
    "secret": ("LANGLOG_SECRET",),
    "keys_schema": ("LANGLOG_KEYS_SCHEMA",),
    "postgres_pool_size": ("LANGGRAPH_POSTGRES_POOL_MAX_SIZE",),
    "projection": ("LANGLOG_PROJECTION",),
    "host": ("LANGLOG_HOST",),
    "port": ("PORT",),
    "health_port": ("LANGLOG_HEALTH_PORT",),
    "tls_cert_file": ("LANGLOG_TLS_CERT_FILE",),
    "tls_key_file": ("LANGLOG_TLS_KEY_FILE",),
    "mount_prefix": ("MOUNT_PREFIX",),
    "cors_allow_origins": ("CORS_ALLOW_ORIGINS",),
    "studio_url": ("LANGLOG_STUDIO_URL",),
    "allowed_hosts": ("LANGLOG_ALLOWED_HOSTS",),
    "allow_unauthenticated": ("LANGLOG_ALLOW_UNAUTHENTICATED",),
    "body_timeout_s": ("LANGLOG_BODY_TIMEOUT_SECS",),
    "max_metadata_bytes": ("LANGLOG_MAX_METADATA_BYTES",),
    "max_config_bytes": ("LANGLOG_MAX_CONFIG_BYTES",),
    "max_body_bytes": ("LANGLOG_MAX_BODY_BYTES",),
    "outcomes_kept_s": ("LANGLOG_IDEMPOTENCY_SECS",),
    "read_timeout_s": ("LANGLOG_READ_TIMEOUT_SECS",),
    "projector_give_up_s": ("LANGLOG_PROJECTOR_GIVE_UP_SECS",),
    "reply_timeout_s": ("LANGLOG_REPLY_TIMEOUT_SECS",),
    "heartbeat_s": ("LANGLOG_HEARTBEAT_SECS",),
    "stream_buffer_frames": ("LANGLOG_STREAM_BUFFER_FRAMES",),
    "stream_buffer_bytes": ("LANGLOG_STREAM_BUFFER_BYTES",),
    "max_streams": ("LANGLOG_MAX_STREAMS",),
    "max_filter_members": ("LANGLOG_MAX_FILTER_MEMBERS",),
    "stream_check_s": ("LANGLOG_STREAM_CHECK_SECS",),
    "max_streams_per_user": ("LANGLOG_MAX_STREAMS_PER_USER",),
    "max_subscriptions": ("LANGLOG_MAX_SUBSCRIPTIONS",),
    "max_socket_message_bytes": ("LANGLOG_MAX_SOCKET_MESSAGE_BYTES",),
    "socket_ping_s": ("LANGLOG_SOCKET_PING_SECS",),
    "max_queued_runs": ("LANGLOG_MAX_QUEUED_RUNS",),
    "max_queued_runs_per_user": ("LANGLOG_MAX_QUEUED_RUNS_PER_USER",),
    "max_delay_s": ("LANGLOG_MAX_DELAY_SECS",),
    "max_page": ("LANGLOG_MAX_PAGE",),
    "max_answer_bytes": ("LANGLOG_MAX_ANSWER_BYTES",),
    "audit_page_bytes": ("LANGLOG_AUDIT_PAGE_BYTES",),
    "base_url": ("LANGLOG_BASE_URL",),
    "workers": ("LANGLOG_WORKERS",),
    "worker_start_s": ("LANGLOG_WORKER_START_SECS",),
    "debug_port": ("LANGLOG_DEBUG_PORT",),
    "debug_wait": ("LANGLOG_DEBUG_WAIT",),
    "jobs_per_worker": ("N_JOBS_PER_WORKER",),
    "job_timeout_s": ("BG_JOB_TIMEOUT_SECS",),
    "max_attempts": ("BG_JOB_MAX_RETRIES",),
    "lease_s": ("LANGLOG_LEASE_SECS",),
    "drain_s": ("LANGLOG_DRAIN_SECS",),
    "stop_s": ("LANGLOG_STOP_SECS",),
    "frame_retention": ("LANGLOG_FRAME_RETENTION",),
    "frames_max_bytes": ("LANGLOG_FRAMES_MAX_BYTES",),
    "frames_kept_s": ("LANGLOG_FRAMES_KEPT_SECS",),
    "frames_unfollowed_s": ("LANGLOG_FRAMES_UNFOLLOWED_SECS",),
    "sweep_s": ("LANGLOG_SWEEP_SECS",),
    "embed_timeout_s": ("LANGLOG_EMBED_TIMEOUT_SECS",),
    "webhook_secret": ("LANGLOG_WEBHOOK_SECRET",),
    "webhook_attempts": ("LANGLOG_WEBHOOK_ATTEMPTS",),
    "webhook_timeout_s": ("LANGLOG_WEBHOOK_TIMEOUT_SECS",),
    "webhook_backoff_s": ("LANGLOG_WEBHOOK_BACKOFF_SECS",),
    "webhook_concurrency": ("LANGLOG_WEBHOOK_CONCURRENCY",),
    "webhook_concurrency_per_user": ("LANGLOG_WEBHOOK_CONCURRENCY_PER_USER",),
    "webhook_block_private": ("LANGLOG_WEBHOOK_BLOCK_PRIVATE",),
    "cron_grace_s": ("LANGLOG_CRON_GRACE_SECS",),
    "cron_max_lag_s": ("LANGLOG_CRON_MAX_LAG_SECS",),
    "cron_min_interval_s": ("LANGLOG_CRON_MIN_INTERVAL_SECS",),
    "max_crons_per_owner": ("LANGLOG_MAX_CRONS_PER_OWNER",),
    "crons_enabled": ("FF_CRONS_ENABLED",),
    "studio_api_key": ("LANGLOG_STUDIO_API_KEY",),
    "log_level": ("LOG_LEVEL",),
    "log_json": ("LOG_JSON",),
}
"""Field -> the variables it is read from, the first one set winning."""


UNSERVED: dict[str, tuple[tuple[str, ...], str]] = {
    "LANGGRAPH_AES_KEY": (
        (),
        "checkpoints are not encrypted by langlog; it would store in clear what is to be encrypted",
    ),
    "LANGGRAPH_AUTH_TYPE": (("noop", "custom"), "langlog knows no authentication but the project's own (auth.path)"),
    "REDIS_CLUSTER": (("false", "0"), "langlog needs one Redis server, not a cluster"),
}
"""Variables of other servers (API.md 17) -> values that change nothing, and why any other one stops the start."""


def read_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings of this process. ``overrides`` that are not None win. Raises SettingError."""
    env = os.environ if environ is None else environ
    for name, (harmless, why) in UNSERVED.items():
        value = env.get(name, "").lower()
        if value and value not in harmless:
            raise SettingError(f"{name} is set: {why}")
    found: dict[str, Any] = {}
    for field, names in VARIABLES.items():
        for name in names:
            if env.get(name, "") != "":
                try:
                    found[field] = _convert(field, env[name])
                except (msgspec.ValidationError, ValueError) as error:
                    raise SettingError(f"{name}={env[name]!r}: {error}") from None
                break
    found.update({k: v for k, v in overrides.items() if v is not None})
    return Settings(**found)


def own_url(settings: Settings) -> str:
    """Where a process reaches the gateway that is in it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    scheme = "https" if settings.tls_cert_file else "http"
    return f"{scheme}://[{host}]:{settings.port}" if ":" in host else f"{scheme}://{host}:{settings.port}"


def _convert(field: str, text: str) -> Any:
    kind = Settings.__annotations__[field]
    if kind == "Path":
        return Path(text)
    if kind == "bool":
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise ValueError("expected true or false")
    if kind.startswith("Literal["):
        return msgspec.convert(text, get_type_hints(Settings)[field])
    target = {"str": str, "int": int, "float": float}[kind]
    return msgspec.convert(text, target, strict=False)
