"""Logging: structlog to stderr, one event per line, with libraries' `logging` records routed into it.

`configure_logging` is called once per process, before anything logs. Text for people by default, colours only on a
terminal and without ``NO_COLOR``; one JSON object a line with ``LOG_JSON=true``. Payloads are not logged at info and above.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO, cast

import msgspec
import structlog

from ..time.sources import monotonic
from ..values.lone_surrogates import encodable
from . import activity
from .service import StartError
from .settings import Settings

STDERR = 2
"""The file descriptor of standard error."""
REPEAT_S = 30.0
"""A library's repeated message (of a Kafka client while its broker is unavailable) is logged once per this period."""
REPEATS_KEPT = 1000
"""Maximum number of remembered messages; beyond it all are forgotten."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_QUIET = {
    "asyncio": 30,
    "asyncpg.pool": 40,
    "aiohttp.access": 30,
    "aiokafka": 30,
    "httpx": 30,
    "httpcore": 30,
    "watchfiles": 30,
}
"""Loggers of libraries and their minimum level, except in debug mode."""


before_line: Callable[[], None] | None = None
"""Called before each line, so that a progress display on the same terminal removes itself."""


class _Once(logging.Filter):
    """Lets a record pass when nothing with the same logger, level and message template did within `REPEAT_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        what = (record.name, record.levelno, str(record.msg))
        now = monotonic()
        last, held_back = self._logged.get(what, (None, 0))
        if last is not None and now - last < REPEAT_S:
            self._logged[what] = (last, held_back + 1)
            return False
        if len(self._logged) >= REPEATS_KEPT:
            self._logged.clear()
        self._logged[what] = (now, 0)
        record.held_back = held_back
        return True


def _without_request(record: logging.LogRecord) -> bool:
    """Filter: aiohttp's record of a request that is not HTTP quotes a part of it, which may hold a credential: its class
    and status are left."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and type(error).__module__ == "aiohttp.http_exceptions":
        what = f"{type(error).__name__} ({getattr(error, 'code', 400)})"
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = f"A request that is no valid HTTP was refused: {what}", ()
        record.exc_info = record.exc_text = None
    return True


def _repeats(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add how many repetitions of a library's record were held back since it was last logged."""
    held_back = getattr(event.get("_record"), "held_back", 0)
    if held_back:
        event["held_back"] = held_back
    return event


def _encode_unknown(value: Any) -> str:
    return repr(value)


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=_encode_unknown).decode()
    except Exception:  # a lone surrogate, a key or a nesting that JSON does not have, a `repr` that raises
        return msgspec.json.encode({_written(k): _written(v) for k, v in event.items()}).decode()


def _written(value: Any) -> str:
    try:
        return encodable(value if type(value) is str else repr(value))
    except Exception:
        return f"<{encodable(type(value).__name__)}>"


def _traceback_as_lines(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put a graph's traceback below its event, on lines of its own."""
    if isinstance(event.get("traceback"), str) and "exception" not in event:
        event["exception"] = event.pop("traceback").rstrip("\n")
    return event


def _activity_as_text(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return activity.as_text(event)


def _shown(text: str) -> str:
    """Return the text with characters escaped that control a terminal or change text direction: clients may send them.
    Lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in text)


def _controls_as_text(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters: the renderer prints texts without spaces unchanged, and others as their ``repr``."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _shown(value)
    return event


def _plain_exception(out: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write(_shown(text.getvalue()))


class _Writing:
    """Renders an event as text that the stream can encode. Values that cannot be rendered are replaced: logging never raises."""

    def __init__(self, render: structlog.typing.Processor, encoding: str) -> None:
        self._render = render
        self._encoding = encoding

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        try:
            line = str(self._render(logger, method, event))
        except Exception:
            line = " ".join(f"{_written(name)}={_written(value)}" for name, value in event.items())
        try:
            line.encode(self._encoding)
        except UnicodeError:
            return line.encode(self._encoding, "backslashreplace").decode(self._encoding)
        return line


class _Output:
    """The stream for the lines. Writing never raises: a full disk, a closed pipe, or a graph that closed ``sys.stderr`` must not
    end the code that logs. Lines that the stream refuses go to the process's standard error, or are lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        if before_line is not None:
            before_line()
        try:
            self._stream.write(line)
        except (ValueError, OSError) as error:
            if isinstance(error, ValueError):  # the stream was closed; the descriptor of `sys.stderr` outlives it
                with contextlib.suppress(OSError):
                    os.write(STDERR, line.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            self._stream.flush()


def configure_logging(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send this process's log to ``stream`` (default: stderr). Raises StartError for an unknown LOG_LEVEL."""
    level = _LEVELS.get(settings.log_level.lower())
    if level is None:
        raise StartError(f"LOG_LEVEL must be one of {', '.join(_LEVELS)}, not {settings.log_level!r}")
    stream = stream or sys.stderr
    out = _Output(stream)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor]
    if settings.log_json:
        render = [structlog.processors.format_exc_info, _json]
    else:
        colours = stream.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
        render = [
            _traceback_as_lines,
            _activity_as_text,
            _controls_as_text,
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=_plain_exception, sort_keys=False),
        ]
    render = [*render[:-1], _Writing(render[-1], getattr(stream, "encoding", None) or "utf-8")]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", out)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(_without_request)
    handler.addFilter(_Once())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *shared,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.PositionalArgumentsFormatter(),
            ],
            processors=[_repeats, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, floor in _QUIET.items():
        logging.getLogger(name).setLevel(level if level <= logging.DEBUG else max(level, floor))
