"""Delivery of webhooks: at least once, from the rows that the projector made of ended runs.

One loop sleeps until the next attempt is due; a new delivery, or the outcome of one, wakes it. Attempts run concurrently up
to a limit. The outcome of an attempt is a command (its id is derived from run and number), and its folded row schedules the
next attempt or ends the delivery. A name in Redis keeps two schedulers from sending the same attempt; when Redis is
unavailable, or one dies after sending and before recording it, it is sent twice. When this dies, the rows are still due for
the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from langlog_backbone.context import Backbone
from langlog_backbone.metrics.table import WEBHOOK_ATTEMPTS, WEBHOOK_SECONDS
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process.retry import READ_LIMIT_S, Availability, until_available
from langlog_backbone.process.server_errors import RedisUnavailable
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.project.config import read_configuration
from langlog_backbone.project.json_handlers import MARK_BYTES, HandlerFault, load_json_handlers
from langlog_backbone.project.webhook_policy import webhook_headers, webhook_policy, webhook_section
from langlog_backbone.redis import channels
from langlog_backbone.time.clock import iso, new_id, now, now_iso
from langlog_backbone.time.sources import uniform
from langlog_schemas import commands as cmd

from .commands import append
from .polling import POLL_LIMIT_S, outages_logged
from .webhook_body import webhook_body
from .webhook_sender import Try, WebhookSender

logger = structlog.get_logger(__name__)

SQL = load_sql("langlog_scheduler", "webhooks.sql")

LONGEST_SLEEP_S = 3600.0
RETRY_S = 1.0
"""Seconds before the next attempt while Postgres or the log is unavailable."""
BACKOFF_MAX_S = 300.0
OUTCOMES = ("delivered", "failed", "given up")
CLAIM_MARGIN_S = 5.0
"""Seconds by which a claim outlives the time limit of its attempt: then another scheduler may consider its holder dead."""


class Webhooks:
    """Delivers webhooks. Raises StartError if the project's ``webhooks`` section is invalid."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone, self._pool, self._settings = backbone, backbone.pool, backbone.settings
        configuration = read_configuration(self._settings.project)
        section = webhook_section(configuration.section("webhooks"))
        headers = webhook_headers(section, configuration.environment())
        for outcome in OUTCOMES:
            WEBHOOK_ATTEMPTS.labels(outcome)  # counted from 0 on: an increase is seen from the first one
        self._sender = WebhookSender(self._settings, webhook_policy(section, self._settings), headers)
        self._handlers = load_json_handlers(configuration.project)
        self._id = new_id()
        self._wake, self._ended = asyncio.Event(), asyncio.Event()
        self._draining = False
        self.availability = Availability("scheduler.webhooks")
        self._outcomes = Availability("scheduler.webhooks.outcomes", "log")
        self._under_way: dict[str, str] = {}
        """Run -> the user whose share its delivery uses; empty: none."""
        self._recorded: dict[str, int] = {}
        """Run -> attempt whose outcome is in the log and may not be folded yet."""
        self._others: dict[tuple[str, int], float] = {}
        """(run, attempt) that another scheduler has -> the loop's time until which it is left to that one"""

    async def follow(self) -> None:
        """Deliver due webhooks until cancelled."""
        bus = self._backbone.bus
        await bus.subscribe(channels.TIMERS, self._on_timer, remote=False)
        bus.on_missed.append(self._wake.set)
        await self._sender.open()
        try:
            async with asyncio.TaskGroup() as tries:
                while True:
                    self._wake.clear()
                    wait = RETRY_S  # nothing signals that Postgres is back
                    with outages_logged(), self.availability.attempt():
                        async with asyncio.timeout(POLL_LIMIT_S):
                            wait = await self._begin(tries)
                    try:
                        async with asyncio.timeout(wait):
                            await self._wake.wait()
                    except TimeoutError:
                        continue
        finally:
            await self._sender.close()
            await bus.unsubscribe(channels.TIMERS, self._on_timer)

    async def drain(self) -> None:
        """Begin no further attempts; wait for those under way, within their time limit."""
        self._draining = True
        until = asyncio.get_running_loop().time() + min(self._settings.webhook_timeout_s, self._settings.drain_s)
        while self._under_way and (left := until - asyncio.get_running_loop().time()) > 0:
            self._ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._ended.wait()

    def _on_timer(self, _: bytes) -> None:
        self._wake.set()

    async def _begin(self, tries: asyncio.TaskGroup) -> float:
        """Begin the due attempts; return the seconds until there is something to do again, if nothing wakes us."""
        free = self._settings.webhook_concurrency - len(self._under_way)
        if free <= 0 or self._draining:
            return LONGEST_SLEEP_S
        await self._forget_folded()
        now = asyncio.get_running_loop().time()
        self._others = {key: until for key, until in self._others.items() if until > now}
        passed_over = [*self._under_way, *self._recorded, *(run_id for run_id, _ in self._others)]
        share = self._settings.webhook_concurrency_per_user
        taken = Counter(user for user in self._under_way.values() if user)
        rows = await self._pool.fetch(SQL["due"], passed_over, free, share, list(taken), list(taken.values()))
        for run_id, attempts, user in rows:
            self._under_way[run_id] = user
            tries.create_task(self._try(run_id, attempts + 1))
        waits = [until - now for until in self._others.values()]
        begun = [run_id for run_id, _, _ in rows]
        taken = Counter(user for user in self._under_way.values() if user)
        full = [user for user, n in taken.items() if n >= share]
        seconds = await self._pool.fetchval(SQL["next_due"], passed_over + begun, full)
        if seconds is not None:
            waits.append(max(float(seconds), 0.0))
        return min(waits, default=LONGEST_SLEEP_S)

    async def _forget_folded(self) -> None:
        if self._recorded:
            recorded = dict(self._recorded)  # others are added meanwhile
            rows = await self._pool.fetch(SQL["attempts"], list(recorded))
            attempts = {row["run_id"]: row["attempts"] for row in rows}
            for run_id, n in recorded.items():
                if attempts.get(run_id, n) >= n:
                    del self._recorded[run_id]

    async def _try(self, run_id: str, number: int) -> None:
        try:
            if not await self._claim(run_id, number):
                return
            async with asyncio.timeout(READ_LIMIT_S):
                row = await self._pool.fetchrow(SQL["delivery"], run_id, number - 1)
            if row is None:
                return
            at = now_iso()
            try:
                body = webhook_body(row)
                if MARK_BYTES in body:
                    body = await self._opened(body)
            except HandlerFault as fault:
                result = Try(delivered=False, duration_ms=0, error=str(fault), hopeless=True)
            except (KeyError, ValueError, msgspec.MsgspecError):
                logger.exception("webhooks.no_body", run_id=run_id)
                result = Try(delivered=False, duration_ms=0, error="the body cannot be made", hopeless=True)
            else:
                result = await self._sender.send(row["url"], f"msg_{run_id}", body)
            await self._record_outcome(self._outcome(row, number, at, result))
            self._recorded[run_id] = number
        except asyncio.CancelledError:
            self._backbone.pipe.send(
                "DEL", self._claim_key(run_id, number)
            )  # the next scheduler need not wait for it to expire
            raise
        except Exception as error:
            if is_unavailable(error):
                self.availability.failed(error)
                await asyncio.sleep(RETRY_S)  # nothing signals that the server is back, and the try is still due
            else:  # one delivery that cannot be must not end the others
                logger.exception("webhooks.try_failed", run_id=run_id, attempt=number)
                self._others[run_id, number] = asyncio.get_running_loop().time() + BACKOFF_MAX_S
        finally:
            self._under_way.pop(run_id, None)
            self._wake.set()
            self._ended.set()

    async def _opened(self, body: bytes) -> bytes:
        """Return the row decrypted. Raises HandlerFault, and the errors of the project's handlers."""
        if self._handlers is None:
            raise HandlerFault(
                "The body is sealed by JSON handlers of encryption.path, which this scheduler does not have"
            )
        return await self._handlers.open_json(body)

    async def _claim(self, run_id: str, number: int) -> bool:
        """Return whether this scheduler has claimed the attempt; always true while Redis is unavailable."""
        pipe, seconds = self._backbone.pipe, self._settings.webhook_timeout_s + CLAIM_MARGIN_S
        key = self._claim_key(run_id, number)
        try:
            if await pipe.call("SET", key, self._id, "NX", "PX", int(seconds * 1000)):
                return True
            if await pipe.call("GET", key) == self._id.encode():
                return True
        except RedisUnavailable:
            return True
        self._others[run_id, number] = asyncio.get_running_loop().time() + seconds
        return False

    def _claim_key(self, run_id: str, number: int) -> str:
        return self._backbone.pipe.key("webhook", run_id, str(number))

    def _outcome(self, row: Any, number: int, at: str, result: Try) -> cmd.RecordWebhookAttempt:
        again = None
        made = number - row["attempts_before"]  # since it was last sent again
        if not (result.delivered or result.hopeless or made >= self._settings.webhook_attempts):
            # full jitter: receivers that were down are not met by all at once
            most = min(BACKOFF_MAX_S, self._settings.webhook_backoff_s * 2.0 ** min(made - 1, 30))
            delay = timedelta(seconds=uniform(0, most))
            again = iso(now() + delay)
        outcome = "delivered" if result.delivered else "given up" if again is None else "failed"
        WEBHOOK_ATTEMPTS.labels(outcome).inc()
        WEBHOOK_SECONDS.observe(result.duration_ms / 1000)
        if not result.delivered and again is None:
            logger.warning("webhooks.given_up", run_id=row["run_id"], attempts=number, error=result.error)
        return cmd.RecordWebhookAttempt(
            thread_id=row["thread_id"],
            run_id=row["run_id"],
            attempt=number,
            attempted_at=at,
            duration_ms=result.duration_ms,
            delivered=result.delivered,
            status_code=result.status_code,
            error=result.error,
            next_attempt_at=again,
        )

    async def _record_outcome(self, command: cmd.RecordWebhookAttempt) -> None:
        """Append the outcome until it is certain: an unrecorded attempt is sent again."""
        id = f"{command.run_id}-webhook-{command.attempt}"
        await until_available(lambda: append(self._backbone.log, [(id, command)]), on=self._outcomes)
