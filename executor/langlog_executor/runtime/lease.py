"""The lease by which a worker is known to be alive, renewed by a thread.

    taken ──every third of the lease──► renewed ─ … ─► lost ──► `on_lost`: all held tasks belong to others now
                                          └─ wiped ──► `on_wiped`: store the held tasks again

A thread with a connection of its own, because an event loop that is busy for a moment must not lose the lease. Whether a lease
that Redis does not know was wiped or has expired is decided by this process's clock: it cannot expire before its time.
It dies with its process, and then the lease expires, as intended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from langlog_backbone.process.retry import Availability
from langlog_backbone.process.settings import Settings
from langlog_backbone.redis.hot_queue import renew_blocking
from langlog_backbone.time.clock import new_id
from langlog_backbone.time.sources import monotonic
from redis import Redis
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)

RENEWALS = 3
"""Number of renewals within the length of a lease."""
RETRY_S = 0.3
"""Seconds between two attempts while Redis is unavailable."""


class Lease:
    """Holds the lease of one worker id at a time; callbacks are called on the lease's thread. ``clock``: monotonic seconds."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_lost: Callable[[str], None],
        on_wiped: Callable[[str], None],
        clock: Callable[[], float] = monotonic,
        about: Callable[[], bytes] = bytes,
    ) -> None:
        """``about``: returns the worker's report for operators (`messages.WorkerInfo`, encoded); called on the lease's thread."""
        self._settings = settings
        self._clock = clock
        self._on_lost = on_lost
        self._on_wiped = on_wiped
        self._about = about
        self._client = self._connect()
        self.availability = Availability("worker.lease", "redis")
        self._stopping = False
        self._wake = threading.Event()
        self._taken = threading.Event()
        self._renewed = 0.0
        self.worker = new_id()
        """Worker id of the lease; a new one after it was lost."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def _connect(self) -> Redis:
        """Return the client; it connects at its first command."""
        limit_s = self._settings.lease_s
        uri = self._settings.redis_uri
        return Redis.from_url(uri, socket_timeout=limit_s / RENEWALS, socket_connect_timeout=limit_s)

    def start(self) -> None:
        """Acquire the lease and renew it. Blocks until it is acquired: the worker must not claim before."""
        self._thread.start()
        self._taken.wait()

    def stop(self) -> None:
        """Stop renewing: the next reaping finds tasks that are still held."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=self._settings.lease_s)
        self._client.close()

    def hurry(self) -> None:
        """Renew now: Redis was unavailable, and may have lost its content. Any thread."""
        self._wake.set()

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _run(self) -> None:
        while not self._stopping:
            try:
                pause_s = self.renew()
            except Exception:  # the end of this thread would go unnoticed until the lease is over
                logger.exception("lease.failed", worker=self.worker)
                pause_s = RETRY_S
            self._pause(pause_s)

    def renew(self) -> float:
        """Renew the lease, or take it, once. Gives the seconds until the next time; called on the lease's thread alone."""
        fresh = not self._taken.is_set()
        sent_at = self._clock()
        try:
            held = renew_blocking(
                self._client,
                self._settings.redis_prefix,
                self.worker,
                self._settings.lease_s,
                fresh=fresh,
                about=self._description(),
            )
        except (RedisError, OSError) as error:
            self.availability.failed(error)
            return RETRY_S
        self.availability.succeeded()
        if not held:
            self._not_known(sent_at)
            return 0.0
        self._renewed = sent_at
        self._taken.set()
        return self._settings.lease_s / RENEWALS

    def _description(self) -> bytes:
        """Return the worker's report; empty if it cannot be made, which must not cost the lease."""
        try:
            return self._about()
        except Exception:
            logger.exception("lease.not_described", worker=self.worker)
            return b""

    def _not_known(self, sent_at: float) -> None:
        """Handle a lease unknown to Redis: Redis was wiped, or the lease has expired and was reaped."""
        self._taken.clear()
        if sent_at - self._renewed < self._settings.lease_s:
            logger.warning("lease.wiped", worker=self.worker)
            self._on_wiped(self.worker)
            return
        logger.warning("lease.lost", worker=self.worker, silent_s=round(sent_at - self._renewed, 1))
        lost, self.worker = self.worker, new_id()
        self._on_lost(lost)
