"""Deliveries of webhooks (docs/how-to/webhooks.md)."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from .members import Row, Time, Uuid, stamp


class WebhookAttempt(Struct):
    """One attempt to deliver a webhook."""

    attempt: int
    """Number of the attempt, from 1"""
    attempted_at: Time
    """Time of the attempt"""
    duration_ms: int
    """Milliseconds until the response or the failure"""
    status_code: int | None
    """Status of the response; null if there was none"""
    error: str | None
    """Reason of the failure; null if the attempt succeeded"""


class WebhookDelivery(Struct):
    """The delivery of a run's webhook."""

    webhook_id: str
    """Id that the receiver gets as `webhook-id`, the same for every attempt"""
    run_id: Uuid
    """Id of the run"""
    thread_id: Uuid
    """Id of the run's thread"""
    url: str
    """URL of the receiver"""
    state: Literal["pending", "delivered", "failed"]
    """`failed` after the last attempt"""
    run_ended_at: Time
    """Time when the run ended"""
    attempts: list[WebhookAttempt]
    """Attempts up to now"""
    next_attempt_at: Time | None
    """Time of the next attempt; null if there is none"""


class NotSent(Struct):
    """A webhook that cannot be sent again."""

    run_id: Uuid
    """Id of the run"""
    reason: str
    """Why it cannot be sent"""


class SentAgain(Struct):
    """Outcome of a request to send webhooks again."""

    sent: int
    """Number of webhooks that are due again"""
    refused: list[NotSent]
    """The others"""


_attempts = msgspec.json.Decoder(list[WebhookAttempt])


def delivery(row: Row) -> WebhookDelivery:
    """Return the delivery of a row of ``webhooks``."""
    due = row["next_attempt_at"]
    return WebhookDelivery(
        webhook_id=f"msg_{row['run_id']}",
        run_id=row["run_id"],
        thread_id=row["thread_id"],
        url=row["url"],
        state="pending" if row["settled_at"] is None else "delivered" if row["delivered"] else "failed",
        run_ended_at=stamp(row["ended_at"]),
        attempts=_attempts.decode(row["attempt_log"]),
        next_attempt_at=None if due is None else stamp(due),
    )
