"""Environment variables: the names of each setting's variables, and how a process reads its settings from them.

Names of the wire contract (§17) are used unchanged; langlog's own begin with ``LANGLOG_``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from .setting_files import SettingError, check_file, read_secret
from .settings import Settings

VARIABLES: dict[str, tuple[str, ...]] = {
    "log_uri": ("LOG_URI",),
    "database_uri": ("DATABASE_URI", "POSTGRES_URI"),
    "redis_uri": ("REDIS_URI",),
    "redis_prefix": ("REDIS_KEY_PREFIX",),
    "data_dir": ("LANGLOG_DATA_DIR",),
    "project": ("LANGLOG_PROJECT",),
    "no_project": ("LANGLOG_NO_PROJECT",),
    "kafka_security": ("LANGLOG_KAFKA_SECURITY",),
    "kafka_sasl_mechanism": ("LANGLOG_KAFKA_SASL_MECHANISM",),
    "kafka_username": ("LANGLOG_KAFKA_USERNAME",),
    "kafka_password": ("LANGLOG_KAFKA_PASSWORD",),
    "kafka_ca_file": ("LANGLOG_KAFKA_CA_FILE",),
    "kafka_cert_file": ("LANGLOG_KAFKA_CERT_FILE",),
    "kafka_key_file": ("LANGLOG_KAFKA_KEY_FILE",),
    "kafka_compression": ("LANGLOG_KAFKA_COMPRESSION",),
    "topic_prefix": ("LANGLOG_TOPIC_PREFIX",),
    "partitions": ("LANGLOG_PARTITIONS",),
    "replication_factor": ("LANGLOG_REPLICATION_FACTOR",),
    "production": ("LANGLOG_PRODUCTION",),
    "max_record_bytes": ("LANGLOG_MAX_RECORD_BYTES",),
    "append_deadline_s": ("LANGLOG_APPEND_DEADLINE_SECS",),
    "group_session_s": ("LANGLOG_GROUP_SESSION_SECS",),
    "encryption": ("LANGLOG_ENCRYPTION",),
    "master_key": ("LANGLOG_MASTER_KEY",),
    "aes_key": ("LANGGRAPH_AES_KEY",),
    "secret": ("LANGLOG_SECRET",),
    "keys_schema": ("LANGLOG_KEYS_SCHEMA",),
    "postgres_pool_size": ("LANGGRAPH_POSTGRES_POOL_MAX_SIZE",),
    "projection": ("LANGLOG_PROJECTION",),
    "host": ("LANGLOG_HOST",),
    "port": ("PORT",),
    "health_port": ("LANGLOG_HEALTH_PORT",),
    "metrics_tenants": ("LANGLOG_METRICS_TENANTS",),
    "tls_cert_file": ("LANGLOG_TLS_CERT_FILE",),
    "tls_key_file": ("LANGLOG_TLS_KEY_FILE",),
    "mount_prefix": ("MOUNT_PREFIX",),
    "cors_allow_origins": ("CORS_ALLOW_ORIGINS",),
    "studio_url": ("LANGLOG_STUDIO_URL",),
    "console": ("LANGLOG_CONSOLE",),
    "allowed_hosts": ("LANGLOG_ALLOWED_HOSTS",),
    "allow_unauthenticated": ("LANGLOG_ALLOW_UNAUTHENTICATED",),
    "body_timeout_s": ("LANGLOG_BODY_TIMEOUT_SECS",),
    "max_metadata_bytes": ("LANGLOG_MAX_METADATA_BYTES",),
    "max_config_bytes": ("LANGLOG_MAX_CONFIG_BYTES",),
    "max_body_bytes": ("LANGLOG_MAX_BODY_BYTES",),
    "max_bodies_bytes": ("LANGLOG_MAX_BODIES_BYTES",),
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
    "node": ("LANGLOG_NODE",),
    "graph_host_memory_mb": ("LANGLOG_GRAPH_HOST_MEMORY_MB",),
    "graph_hosts": ("LANGLOG_GRAPH_HOSTS",),
    "jobs_per_worker": ("N_JOBS_PER_WORKER",),
    "isolated_loops": ("BG_JOB_ISOLATED_LOOPS",),
    "job_timeout_s": ("BG_JOB_TIMEOUT_SECS",),
    "max_attempts": ("BG_JOB_MAX_RETRIES",),
    "lease_s": ("LANGLOG_LEASE_SECS",),
    "drain_s": ("LANGLOG_DRAIN_SECS",),
    "stop_s": ("LANGLOG_STOP_SECS",),
    "frame_retention": ("LANGLOG_FRAME_RETENTION",),
    "frames_max_bytes": ("LANGLOG_FRAMES_MAX_BYTES",),
    "frames_kept_s": ("LANGLOG_FRAMES_KEPT_SECS",),
    "frames_unfollowed_s": ("LANGLOG_FRAMES_UNFOLLOWED_SECS",),
    "cache_max_bytes": ("LANGLOG_CACHE_MAX_BYTES",),
    "cache_max_value_bytes": ("LANGLOG_CACHE_MAX_VALUE_BYTES",),
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
    "url": ("LANGLOG_URL",),
    "request_headers": ("LANGLOG_REQUEST_HEADERS",),
    "source_headers": ("LANGLOG_SOURCE_HEADERS",),
    "log_level": ("LOG_LEVEL",),
    "log_json": ("LOG_JSON",),
    "log_activity": ("LANGLOG_LOG_ACTIVITY",),
}
"""Field -> its environment variables; the first one that is set is used."""

SECRETS = frozenset(
    {
        "database_uri",
        "redis_uri",
        "kafka_password",
        "master_key",
        "aes_key",
        "secret",
        "webhook_secret",
        "studio_api_key",
        "request_headers",
        "source_headers",
    }
)
"""Fields that hold a secret: each of their variables may be given as ``<VARIABLE>_FILE``, the path of a file that holds the value."""
FILE_SUFFIX = "_FILE"
"""Suffix of the name of a variable that names a file."""
FILES = frozenset({"kafka_ca_file", "kafka_cert_file", "kafka_key_file", "tls_cert_file", "tls_key_file"})
"""Fields that are paths of files for libraries."""


AES_KEY_BYTES = (16, 24, 32)

UNSERVED: dict[str, tuple[tuple[str, ...], str]] = {
    "LANGGRAPH_AES_JSON_KEYS": (
        (),
        "LANGGRAPH_AES_KEY encrypts checkpoints, and threads in the log; members of metadata, values and store items are sealed by handlers "
        "for JSON (encryption.path in langgraph.json)",
    ),
    "LANGGRAPH_AUTH_TYPE": (("noop", "custom"), "langlog knows no authentication but the project's own (auth.path)"),
    "REDIS_CLUSTER": (("false", "0"), "langlog needs one Redis server, not a cluster"),
}
"""Variables of other servers (wire contract §17) -> values that change nothing, and why any other one stops the start."""


def read_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Return the settings of this process. ``overrides`` that are not None take precedence. Raises SettingError."""
    env = os.environ if environ is None else environ
    for name, (harmless, why) in UNSERVED.items():
        value = env.get(name, "").lower()
        if value and value not in harmless:
            raise SettingError(f"{name} is set: {why}")
    values: dict[str, Any] = {}
    for field, names in VARIABLES.items():
        if field in SECRETS and (text := _secret(env, names)):
            values[field] = text
            continue
        for name in names:
            if env.get(name, "") != "":
                try:
                    values[field] = _convert(field, env[name])
                except (msgspec.ValidationError, ValueError) as error:
                    raise SettingError(f"{name}={env[name]!r}: {error}") from None
                if field in FILES:
                    check_file(name, Path(env[name]))
                break
    values.update({k: v for k, v in overrides.items() if v is not None})
    if values.get("aes_key"):
        _apply_aes_key(values)
    return Settings(**values)


def _secret(env: Mapping[str, str], names: tuple[str, ...]) -> str:
    """Return the value of a secret, from a variable or from the file that one names; empty: neither is set. Raises SettingError."""
    given = [name for name in names if env.get(name)]
    files = [name + FILE_SUFFIX for name in names if env.get(name + FILE_SUFFIX)]
    if len(files) > 1 or (files and given):
        both = " and ".join([*given, *files])
        raise SettingError(f"{both} are both set: set one of them")
    return read_secret(files[0], Path(env[files[0]])) if files else env[given[0]] if given else ""


def _apply_aes_key(values: dict[str, Any]) -> None:
    """``LANGGRAPH_AES_KEY`` encrypts the log too: as the last master key, so that one of langlog's own may replace it."""
    key = values["aes_key"].encode()
    if len(key) not in AES_KEY_BYTES:
        raise SettingError(f"LANGGRAPH_AES_KEY has {len(key)} bytes: it must have 16, 24 or 32")
    if values.setdefault("encryption", "on") == "off":
        raise SettingError(
            "LANGGRAPH_AES_KEY is set, and LANGLOG_ENCRYPTION is off: langlog would store in clear what is to be encrypted"
        )
    own = base64.b64encode(hmac.digest(key, b"langlog master key", hashlib.sha256)).decode()
    values["master_key"] = f"{values['master_key']},{own}" if values.get("master_key") else own


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
