"""The body of a webhook (wire contract §12): the ended run, with values, error and times. Pure: every try sends the same
bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec
from langlog_backbone.history.run_view import shown_kwargs
from langlog_backbone.process.service import StartError
from langlog_backbone.time.clock import iso
from msgspec import Raw

SECRET_PREFIX = "whsec_"  # noqa: S105 — a marker, not a secret


def webhook_body(row: Mapping[str, Any]) -> bytes:
    """Return the body for a row of ``webhooks``. ``webhook_sent_at`` is when it became due: it is the same for each try."""
    ended = iso(row["ended_at"])
    started = row["started_at"]
    kwargs = shown_kwargs(row["kwargs"], row["metadata"], row["attempt"] if started else 0, finished=True)
    body: dict[str, Any] = {
        "run_id": row["run_id"],
        "thread_id": row["thread_id"],
        "assistant_id": row["assistant_id"],
        "metadata": Raw(row["metadata"].encode()),
        "status": row["status"],
        "kwargs": Raw(kwargs.encode()),
        "multitask_strategy": row["multitask_strategy"],
        "created_at": iso(row["created_at"]),
        "updated_at": ended,
        "langsmith_session_name": None,
        "run_started_at": None if started is None else iso(started),
        "run_ended_at": ended,
        "webhook_sent_at": ended,
        "values": None if row["state_values"] is None else Raw(row["state_values"].encode()),
    }
    if row["error"] is not None:
        error = msgspec.json.decode(row["error"])
        body["error"] = {"error": error["error"], "message": error.get("message", "")}
    return msgspec.json.encode(body)


def signing_key(secret: str) -> bytes:
    """Return the signing key: a secret ``whsec_…`` holds the key in base64; any other text is the key itself. Raises StartError."""
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise StartError(f"LANGLOG_WEBHOOK_SECRET: what follows {SECRET_PREFIX} is not base64") from None


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of standardwebhooks.com: HMAC-SHA256 over id, timestamp and body."""
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
