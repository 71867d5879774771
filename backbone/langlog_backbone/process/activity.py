"""One log line for each request and each run: its kind and outcome, without the content; `langlog dev` also logs why a
request was refused.

Gateways log requests (``http.request``), workers log the ends of runs (``run.ended``). ``langlog dev`` shows them, services at debug
alone (LANGLOG_LOG_ACTIVITY). Nothing here blocks or raises; lines are bounded in length, and show no control characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from .settings import Settings

logger = structlog.get_logger(__name__)

REQUEST, RUN = "http.request", "run.ended"
PROBES = frozenset({"/ok", "/metrics"})
"""Paths that monitors request permanently: logged at debug level only."""
PATH_CHARACTERS_MAX = 200
_AUTHORITY = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")
"""Scheme and host in the target of a request to a proxy (RFC 9112, 3.2.2)."""
MESSAGE_CHARACTERS_MAX = 300
"""Maximum length of an error's text in the line, in characters; the traceback beside it has all of it."""


class Activity:
    """The lines of one process."""

    def __init__(self, settings: Settings) -> None:
        self._mode = settings.log_activity

    def _log(self, *, probe: bool = False) -> Callable[..., Any] | None:
        if self._mode == "off":
            return None
        log: Callable[..., Any] = logger.info if self._mode == "on" and not probe else logger.debug
        return log

    @property
    def shows_reasons(self) -> bool:
        """Whether the line of a refused request gives the reason. Not where logs are stored: a reason may quote the request."""
        return self._mode == "on"

    def request(self, method: str, raw_path: str, status: int, seconds: float, reason: str = "") -> None:
        """Log a request. ``raw_path``: the target as it was sent; its query, its fragment and an absolute one's host and
        user are left out. ``reason``: why it was refused."""
        if self._mode == "off":
            return
        path = _AUTHORITY.sub("", raw_path, count=1).partition("?")[0].partition("#")[0]
        log = self._log(probe=path in PROBES)
        if log is not None:
            path = shown_in_line(path, PATH_CHARACTERS_MAX)
            why = {"reason": shown_in_line(reason)} if reason else {}
            log(REQUEST, method=method, path=path, status=status, ms=round(1000 * seconds, 1), **why)

    def run(
        self,
        *,
        graph_id: str,
        thread_id: str,
        run_id: str,
        attempt: int,
        status: str,
        seconds: float,
        error: str | None = None,
        message: str | None = None,
    ) -> None:
        """Log the end of an attempt. ``error``, ``message``: class and text of its exception."""
        log = self._log()
        if log is None:
            return
        ms = round(1000 * seconds, 1)
        failed = {} if error is None else {"error": error, "message": shown_in_line(message or "")}
        log(
            RUN,
            graph_id=graph_id,
            thread_id=thread_id,
            run_id=run_id,
            attempt=attempt,
            status=status,
            ms=ms,
            **failed,
        )


def shown_in_line(text: str, limit: int = MESSAGE_CHARACTERS_MAX) -> str:
    """Return a text as part of one line of a terminal: white space is a space, other control characters are escaped."""
    text = " ".join(_cut(text, limit).split())
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def as_text(event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return the event as a line for people, if it is one of this module's; else the event unchanged."""
    match event.get("event"):
        case "http.request":
            method, path, status, ms = (event.pop(name, "") for name in ("method", "path", "status", "ms"))
            reason = event.pop("reason", "")
            event["event"] = f"{method:<6} {path} {status} {_span(ms)}{f'  {reason}' if reason else ''}"
        case "run.ended":
            graph, thread, run, status, ms, error, message = (
                event.pop(name, "") for name in ("graph_id", "thread_id", "run_id", "status", "ms", "error", "message")
            )
            attempt = event.pop("attempt", 1)
            again = f" (attempt {attempt})" if attempt != 1 else ""
            failed = f"  {error}: {message}" if error else ""
            event["event"] = f"run    {graph} {status}{again} {_span(ms)}  thread {thread}  run {run}{failed}"
    return event


def _span(ms: Any) -> str:
    if not isinstance(ms, float | int):
        return str(ms)
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
