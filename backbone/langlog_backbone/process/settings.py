"""Every setting of langlog, with its variable, unit and default. `environment` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

MAX_RECORD_BYTES = 80_000_000
"""Default maximum size of one record, in bytes. A Kafka broker accepts requests of up to 100 MB (``socket.request.max.bytes``)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    log_uri: str = ""
    """LOG_URI: URI of the log: ``sqlite:///path`` or ``kafka://host:port[,host:port…]``. Unset: embedded (``langlog dev``
    only)."""
    database_uri: str = ""
    """DATABASE_URI, POSTGRES_URI: Postgres 14 or newer, for the read model. Unset: embedded (``langlog dev`` only)."""
    redis_uri: str = ""
    """REDIS_URI: Redis 6.2 or newer, ``redis://…`` or ``unix://…``. Unset: embedded (``langlog dev`` only)."""
    redis_prefix: str = "langlog:"
    """REDIS_KEY_PREFIX: Prefix of every Redis key and channel."""
    data_dir: Path = Path(".langlog")
    """LANGLOG_DATA_DIR: Folder of the embedded log, Postgres and Redis."""
    project: Path = Path("langgraph.json")
    """LANGLOG_PROJECT: Path of langgraph.json."""
    no_project: bool = False
    """LANGLOG_NO_PROJECT: Start a gateway or a decider without a langgraph.json: no authentication, none of the project's settings."""

    kafka_security: str = "PLAINTEXT"
    """LANGLOG_KAFKA_SECURITY: Kafka security protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    """LANGLOG_KAFKA_SASL_MECHANISM: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    kafka_username: str = ""
    """LANGLOG_KAFKA_USERNAME: SASL user name."""
    kafka_password: str = ""
    """LANGLOG_KAFKA_PASSWORD: SASL password."""
    kafka_ca_file: str = ""
    """LANGLOG_KAFKA_CA_FILE: PEM file of certificate authorities that sign the brokers' certificates. Unset: the
    system's."""
    kafka_cert_file: str = ""
    """LANGLOG_KAFKA_CERT_FILE: PEM file of the client certificate, for brokers that require one."""
    kafka_key_file: str = ""
    """LANGLOG_KAFKA_KEY_FILE: PEM file of the client certificate's private key."""
    kafka_compression: str = "none"
    """LANGLOG_KAFKA_COMPRESSION: Compression of batches of records on Kafka: none, gzip, lz4 or zstd. May be changed at any time;
    readers accept every kind."""

    topic_prefix: str = ""
    """LANGLOG_TOPIC_PREFIX: Prefix of every topic and consumer group name; dots and dashes are allowed."""
    partitions: int = 32
    """LANGLOG_PARTITIONS: Partitions per topic. Cannot be changed later."""
    replication_factor: int = 1
    """LANGLOG_REPLICATION_FACTOR: Replication factor of the topics that langlog creates."""
    production: bool = False
    """LANGLOG_PRODUCTION: Refuse to start on topics with unsafe settings (replication, min ISR, retention), or with a
    gateway that other machines reach and that has no authentication."""
    max_record_bytes: int = MAX_RECORD_BYTES
    """LANGLOG_MAX_RECORD_BYTES: Maximum size of one log record, in bytes: at least twice LANGLOG_MAX_BODY_BYTES and 5 MB, so
    that every valid request fits. Larger checkpoints are split over several records. Kafka topics that were made
    with a lower ``max.message.bytes`` keep it, which is then the limit."""
    append_deadline_s: float = 30.0
    """LANGLOG_APPEND_DEADLINE_SECS: Timeout of one append, in seconds. After it the outcome of the append is unknown."""
    group_session_s: float = 6.0
    """LANGLOG_GROUP_SESSION_SECS: Session timeout of deciders and projectors, in seconds: a silent member loses its
    partitions. Kafka brokers refuse less than their ``group.min.session.timeout.ms`` (6 s by default)."""

    encryption: Literal["off", "read", "on"] = "off"
    """LANGLOG_ENCRYPTION: Encryption of threads in the log, each under a key of its own (docs/how-to/erasure.md). ``on`` encrypts;
    ``read`` decrypts what was encrypted before and encrypts nothing new."""
    master_key: str = ""
    """LANGLOG_MASTER_KEY: Master key that wraps the threads' keys: 32 bytes in base64. Unset: the keys are stored unwrapped
    in Postgres. With several, separated by commas, the first wraps and all unwrap (``langlog keys rewrap``)."""
    aes_key: str = ""
    """LANGGRAPH_AES_KEY: Key of 16, 24 or 32 bytes that encrypts checkpoints, in the log and in Postgres (docs/how-to/erasure.md). It is
    also the last LANGLOG_MASTER_KEY, and turns LANGLOG_ENCRYPTION on unless that says ``read``."""
    secret: str = ""
    """LANGLOG_SECRET: Secret of the deployment: at least 16 random characters, the same for all services. It seals callers'
    credentials that runs need, and makes the ids of requests with an Idempotency-Key unguessable. With several, separated by
    commas, the first seals and all open. Unset: generated once and kept in Postgres (LANGLOG_KEYS_SCHEMA), or beside an
    embedded log."""
    keys_schema: str = "langlog_keys"
    """LANGLOG_KEYS_SCHEMA: Postgres schema of the threads' keys and of sealed credentials. No rebuild touches it; keep it as
    long as the log."""

    postgres_pool_size: int = 10
    """LANGGRAPH_POSTGRES_POOL_MAX_SIZE: Maximum Postgres connections per process."""
    read_timeout_s: float = 10.0
    """LANGLOG_READ_TIMEOUT_SECS: Timeout of a gateway's read from Postgres, in seconds. After it the request gets 503 with
    Retry-After."""
    projector_give_up_s: float = 20.0
    """LANGLOG_PROJECTOR_GIVE_UP_SECS: Seconds without Postgres after which a projector gives its partitions to other
    projectors."""
    projection: str = "langlog_v5"
    """LANGLOG_PROJECTION: Postgres schema of the read model."""

    host: str = "127.0.0.1"
    """LANGLOG_HOST: Address that the gateway and the health port listen on."""
    port: int = 2024
    """PORT: Port the gateway listens on."""
    health_port: int = 0
    """LANGLOG_HEALTH_PORT: Port on which a service answers ``GET /ok``, ``/live`` and ``/metrics``. 0: none."""
    metrics_tenants: int = 0
    """LANGLOG_METRICS_TENANTS: Callers that metrics name by their identity, the busiest; all others count as ``other``. 0: none.
    ``/metrics`` needs no credentials: every caller who can reach it sees these identities."""
    tls_cert_file: str = ""
    """LANGLOG_TLS_CERT_FILE: PEM file of the certificate chain with which the gateway serves HTTPS. Unset: HTTP."""
    tls_key_file: str = ""
    """LANGLOG_TLS_KEY_FILE: PEM file of the certificate's private key. Unset: the certificate file holds it."""
    mount_prefix: str = ""
    """MOUNT_PREFIX: Path prefix of all routes."""
    cors_allow_origins: str = ""
    """CORS_ALLOW_ORIGINS: Origins that browsers may call from, separated by commas; ``*`` allows any. Unset: any with
    authentication; without it, ``localhost``, ``127.0.0.1``, ``[::1]`` and the hosted studio."""
    studio_url: str = ""
    """LANGLOG_STUDIO_URL: URL of a self-hosted Studio, which may call a server without authentication as the hosted one
    may."""
    console: Literal["on", "read", "off"] = "on"
    """LANGLOG_CONSOLE: The pages at ``/console``. ``on``: served. ``read``: served without the buttons that change something; what a
    caller may change is up to the server's authorisation in any case. ``off``: not served."""
    allowed_hosts: str = ""
    """LANGLOG_ALLOWED_HOSTS: Host names, separated by commas, by which clients may reach a server without authentication, in
    addition to its own address. ``*.example.com`` allows all subdomains, ``*`` any host."""
    allow_unauthenticated: bool = False
    """LANGLOG_ALLOW_UNAUTHENTICATED: A proxy in front of this gateway authenticates its callers: neither warn nor, with
    LANGLOG_PRODUCTION, refuse to start when the project configures no authentication."""
    max_metadata_bytes: int = 262_144
    """LANGLOG_MAX_METADATA_BYTES: Maximum size of metadata, in bytes of JSON, in one request and of an object after a PATCH.
    Larger metadata gets 422. Each change writes the whole metadata."""
    max_config_bytes: int = 1_000_000
    """LANGLOG_MAX_CONFIG_BYTES: Maximum size of ``config``, and of ``context``, in bytes of JSON. Larger values get 422."""
    max_body_bytes: int = 34_000_000
    """LANGLOG_MAX_BODY_BYTES: Maximum size of a request body, in bytes, as it arrives and unpacked. Larger bodies get 413."""
    max_bodies_bytes: int = 256_000_000
    """LANGLOG_MAX_BODIES_BYTES: Maximum size of all request bodies over 64 KB that one gateway holds at once, in bytes.
    Further ones are received once there is room; after LANGLOG_BODY_TIMEOUT_SECS they get 503. One user's bodies have half of it."""
    body_timeout_s: float = 60.0
    """LANGLOG_BODY_TIMEOUT_SECS: Timeout of receiving a request body, in seconds. After it the request gets 408."""
    outcomes_kept_s: float = 604_800.0
    """LANGLOG_IDEMPOTENCY_SECS: Seconds for which an Idempotency-Key is remembered, counted back from the newest command of
    its partition."""
    reply_timeout_s: float = 30.0
    """LANGLOG_REPLY_TIMEOUT_SECS: Timeout of waiting for a command's outcome, in seconds. After it the client gets 504; the
    command stays in the log."""
    heartbeat_s: float = 5.0
    """LANGLOG_HEARTBEAT_SECS: Interval of heartbeats on SSE streams and blocking endpoints, in seconds."""
    stream_buffer_frames: int = 10_000
    """LANGLOG_STREAM_BUFFER_FRAMES: Maximum stream events buffered for one reader. A slower reader is disconnected."""
    stream_buffer_bytes: int = 50_000_000
    """LANGLOG_STREAM_BUFFER_BYTES: Maximum bytes of stream events buffered for one reader. A slower reader is
    disconnected."""
    max_streams: int = 10_000
    """LANGLOG_MAX_STREAMS: Maximum open streams per gateway; further requests get 429."""
    max_filter_members: int = 200
    """LANGLOG_MAX_FILTER_MEMBERS: Maximum members of a store search filter, including nested ones; larger filters get
    422."""
    stream_check_s: float = 60.0
    """LANGLOG_STREAM_CHECK_SECS: Interval, in seconds, at which custom authentication handlers are called for each open
    stream, to check that its caller may still read the thread. They are also called when the thread's metadata changes."""
    max_streams_per_user: int = 1_000
    """LANGLOG_MAX_STREAMS_PER_USER: Maximum open streams per gateway and authenticated user; further requests get 429."""
    max_subscriptions: int = 64
    """LANGLOG_MAX_SUBSCRIPTIONS: Maximum subscriptions per WebSocket."""
    max_socket_message_bytes: int = 4_000_000
    """LANGLOG_MAX_SOCKET_MESSAGE_BYTES: Maximum size of a WebSocket message from a client, in bytes. A larger message closes
    the connection with code 1009."""
    socket_ping_s: float = 20.0
    """LANGLOG_SOCKET_PING_SECS: Interval of pings to a silent WebSocket, in seconds. Without an answer within half of it the
    connection is closed. 0: no pings."""
    max_queued_runs: int = 100_000
    """LANGLOG_MAX_QUEUED_RUNS: Maximum pending runs across all gateways; further create requests get 429. 0: no limit."""
    max_queued_runs_per_user: int = 25_000
    """LANGLOG_MAX_QUEUED_RUNS_PER_USER: Maximum pending runs per authenticated user; further create requests get 429. 0: no
    limit."""
    max_delay_s: float = 7_776_000.0
    """LANGLOG_MAX_DELAY_SECS: Maximum ``after_seconds`` of a run; larger values get 422."""
    max_page: int = 10_000
    """LANGLOG_MAX_PAGE: Maximum entries of one response that lists runs or store items. Searches return at most 1,000 in any
    case."""
    max_answer_bytes: int = 100_000_000
    """LANGLOG_MAX_ANSWER_BYTES: Maximum size of a state or a page of history, in bytes of JSON; larger responses become
    413."""
    audit_page_bytes: int = 8_000_000
    """LANGLOG_AUDIT_PAGE_BYTES: Maximum bytes of records read for one page of a thread's events; a longer page is cut
    short."""
    base_url: str = ""
    """LANGLOG_BASE_URL: URL at which the scheduler and workers reach a gateway: for webhooks with relative URLs, and for SDK
    clients in graph code that name no URL. ``langlog dev`` sets it."""

    workers: int = 1
    """LANGLOG_WORKERS: Worker processes per executor."""
    worker_start_s: float = 120.0
    """LANGLOG_WORKER_START_SECS: Timeout of a worker's start, in seconds: a process that has not imported the graphs by then
    has failed. A quarter of it, and 30 s, at most is spent waiting for the read model. Also of the lifespan of ``http.app``, in gateways and workers."""
    debug_port: int = 0
    """LANGLOG_DEBUG_PORT: Port on 127.0.0.1 on which the worker waits for a debugger (needs debugpy and LANGLOG_WORKERS=1).
    0: none."""
    debug_wait: bool = False
    """LANGLOG_DEBUG_WAIT: Wait for a debugger before importing the graphs."""
    node: str = ""
    """LANGLOG_NODE: Path of the Node, 20 or newer, that runs graphs in JavaScript and TypeScript. Unset: ``node`` on the path, or
    that of ``pip install 'langlog[js]'``."""
    graph_host_memory_mb: int = 1024
    """LANGLOG_GRAPH_HOST_MEMORY_MB: Bound of the heap of a worker's process of Node, in megabytes. A process that needs more ends, and its
    runs are taken up again. 0: Node's own bound."""
    graph_hosts: int = 2
    """LANGLOG_GRAPH_HOSTS: Maximum processes of Node of a worker. It starts another one only while graphs block those that there are."""
    jobs_per_worker: int = 128
    """N_JOBS_PER_WORKER: Maximum concurrent runs per worker process."""
    isolated_loops: bool = False
    """BG_JOB_ISOLATED_LOOPS: Run each graph on an event loop of its own, so that a node that blocks it delays no other graph. When false, all
    graphs of a worker share one event loop, and so may asynchronous clients that several of them use (docs/how-to/web-application.md)."""
    job_timeout_s: float = 86_400.0
    """BG_JOB_TIMEOUT_SECS: Maximum duration of a run, in seconds. A longer run ends with status ``timeout``."""
    max_attempts: int = 3
    """BG_JOB_MAX_RETRIES: Maximum attempts of a run whose worker died, including the first."""
    lease_s: float = 10.0
    """LANGLOG_LEASE_SECS: Lease of a worker, in seconds. A worker that has not renewed it for this long is considered
    dead. Postgres ends a transaction in which a service stands still for as long, which frees its locks."""
    drain_s: float = 10.0
    """LANGLOG_DRAIN_SECS: Seconds that a stopping worker gives its runs to reach a step boundary."""
    stop_s: float = 0.0
    """LANGLOG_STOP_SECS: Maximum seconds from SIGTERM to the end of a process, whatever hangs or is unavailable. 0: twice
    ``LANGLOG_DRAIN_SECS``, plus 10."""
    frame_retention: int = 10_000
    """LANGLOG_FRAME_RETENTION: Maximum frame batches kept in Redis per thread."""
    frames_max_bytes: int = 256_000_000
    """LANGLOG_FRAMES_MAX_BYTES: Maximum bytes of frames kept in Redis, over all runs. Beyond it the oldest are dropped
    first, and those of runs that clients follow last. Where Redis has a ``maxmemory``, frames take at most half of it."""
    frames_kept_s: float = 3_600.0
    """LANGLOG_FRAMES_KEPT_SECS: Seconds for which Redis keeps a thread's frames after the last one."""
    frames_unfollowed_s: float = 120.0
    """LANGLOG_FRAMES_UNFOLLOWED_SECS: Seconds for which Redis keeps the frames of an ended run that no client followed."""
    cache_max_bytes: int = 64_000_000
    """LANGLOG_CACHE_MAX_BYTES: Maximum bytes that entries of ``langgraph_sdk.cache`` take in Redis. Over it the entries that
    expire first are removed."""
    cache_max_value_bytes: int = 1_000_000
    """LANGLOG_CACHE_MAX_VALUE_BYTES: Maximum size of one value of that cache as JSON, in bytes. A larger one raises ValueError
    in the project's code."""
    sweep_s: float = 5.0
    """LANGLOG_SWEEP_SECS: Interval, in seconds, at which the scheduler checks for expired leases and lost dispatches."""

    embed_timeout_s: float = 60.0
    """LANGLOG_EMBED_TIMEOUT_SECS: Timeout of one call of ``store.index.embed``, in seconds."""

    webhook_secret: str = ""
    """LANGLOG_WEBHOOK_SECRET: Key that signs webhooks (HMAC-SHA256): ``whsec_`` and base64, or any text. Unset: webhooks are
    not signed."""
    webhook_attempts: int = 3
    """LANGLOG_WEBHOOK_ATTEMPTS: Maximum attempts to deliver a webhook, including the first."""
    webhook_timeout_s: float = 10.0
    """LANGLOG_WEBHOOK_TIMEOUT_SECS: Timeout of one delivery, in seconds."""
    webhook_backoff_s: float = 1.0
    """LANGLOG_WEBHOOK_BACKOFF_SECS: Maximum delay before the second attempt, in seconds (random); each further attempt
    doubles it."""
    webhook_concurrency: int = 16
    """LANGLOG_WEBHOOK_CONCURRENCY: Maximum concurrent webhook deliveries per scheduler."""
    webhook_concurrency_per_user: int = 4
    """LANGLOG_WEBHOOK_CONCURRENCY_PER_USER: Maximum concurrent deliveries per scheduler and authenticated user, so that slow
    receivers delay only their own user's webhooks."""
    webhook_block_private: bool = False
    """LANGLOG_WEBHOOK_BLOCK_PRIVATE: Also refuse webhooks to private networks (10.0.0.0/8 and the like). Loopback,
    link-local and other special ranges are always refused."""

    cron_grace_s: float = 300.0
    """LANGLOG_CRON_GRACE_SECS: Seconds after which a firing missed during downtime is skipped instead of made up for."""

    cron_max_lag_s: float = 10.0
    """LANGLOG_CRON_MAX_LAG_SECS: Seconds of lag, from command to read model, above which no cron fires."""
    cron_min_interval_s: float = 1.0
    """LANGLOG_CRON_MIN_INTERVAL_SECS: Minimum seconds between two firings of a schedule; denser schedules get 422."""
    max_crons_per_owner: int = 1_000
    """LANGLOG_MAX_CRONS_PER_OWNER: Maximum crons per identity (without authentication: in all); further create requests get
    422. 0: no limit."""
    crons_enabled: bool = True
    """FF_CRONS_ENABLED: Fire crons. When false, the scheduler keeps them and fires none."""

    studio_api_key: str = ""
    """LANGLOG_STUDIO_API_KEY: With custom authentication: the key that identifies the Studio user, sent as ``x-api-key``
    with ``x-auth-scheme: langsmith``. Unset: there is no Studio user."""

    url: str = ""
    """LANGLOG_URL: Server that ``langlog threads``, ``runs`` and ``import`` address. Unset: that of ``langlog dev`` on this machine."""
    request_headers: str = ""
    """LANGLOG_REQUEST_HEADERS: Headers of their requests, one ``Name: value`` a line, such as ``Authorization: Bearer …``."""
    source_headers: str = ""
    """LANGLOG_SOURCE_HEADERS: Headers that ``langlog import`` sends to the server it reads, one ``Name: value`` a line."""

    log_level: str = "info"
    """LOG_LEVEL: Minimum log level: debug, info, warning, error or critical."""
    log_json: bool = False
    """LOG_JSON: Log one JSON object per line."""
    log_activity: Literal["auto", "on", "off"] = "auto"
    """LANGLOG_LOG_ACTIVITY: Log one line per request (method, path, status, time) and per run (graph, thread, status, time, error).
    ``on``: at info. ``off``: never. ``auto``: ``langlog dev`` at info (unless ``--quiet``), services at debug."""


def own_url(settings: Settings) -> str:
    """Return the URL at which a process reaches its own gateway."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    scheme = "https" if settings.tls_cert_file else "http"
    return f"{scheme}://[{host}]:{settings.port}" if ":" in host else f"{scheme}://{host}:{settings.port}"
