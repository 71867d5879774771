"""Ids that are derived, not minted: always and everywhere the same.

Minting (UUIDv7 for threads, runs and crons) is an effect and happens at the edges.
Source: wire contract §1.3, §2 and §10.
"""

from __future__ import annotations

import hmac
import uuid
from functools import lru_cache

import msgspec

ASSISTANT_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Clients have bookmarked ids made in this namespace; it differs from the standard namespaces on purpose."""

CRON_NAMESPACE = uuid.UUID("9b0f6a0e-2a53-5c0d-8d0b-54c1a9d0c7e2")


@lru_cache(maxsize=1024)
def default_assistant_id(graph_id: str) -> str:
    """The id of the assistant that every graph has from the start."""
    return str(uuid.uuid5(ASSISTANT_NAMESPACE, graph_id))


def idempotent_id(secret: bytes, actor: str | None, key: str, what: str) -> str:
    """Return an id that a retried request derives again, and that only holders of the deployment's secret can derive.

    ``what`` distinguishes command, thread and run.
    """
    text = msgspec.json.encode((actor, what, key))
    return str(uuid.UUID(bytes=hmac.digest(secret, text, "sha256")[:16], version=5))


def cron_id_at(cron_id: str, due: str, what: str) -> str:
    """An id that belongs to one due time of a cron, whichever scheduler fires it: ``what`` distinguishes command, run and
    thread."""
    return str(uuid.uuid5(CRON_NAMESPACE, f"{cron_id}\x1f{due}\x1f{what}"))
