"""Logs of a process: one event per line, with records of libraries."""

from __future__ import annotations

import errno
import io
import json
import logging
from typing import Any

import pytest
import structlog
from langlog_backbone.process.logging import configure_logging
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings


def json_lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_as_json_each_event_is_one_object_with_time_and_level() -> None:
    out = io.StringIO()
    configure_logging(Settings(log_json=True), stream=out)
    structlog.get_logger("x").info("lease.lost", run_id="r1", value=object)
    (record,) = json_lines(out)
    assert record["event"] == "lease.lost"
    assert record["level"] == "info"
    assert record["run_id"] == "r1"
    assert record["timestamp"]


def test_an_exception_is_one_line_of_json_too() -> None:
    out = io.StringIO()
    configure_logging(Settings(log_json=True), stream=out)
    try:
        raise ValueError("no good")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    (record,) = json_lines(out)
    assert "ValueError: no good" in record["exception"]


def test_records_of_other_libraries_come_in_the_same_form() -> None:
    out = io.StringIO()
    configure_logging(Settings(log_json=True), stream=out)
    logging.getLogger("somebody").warning("%s of %d", "three", 4)
    (record,) = json_lines(out)
    assert record["event"] == "three of 4"
    assert record["logger"] == "somebody"
    assert record["level"] == "warning"


def test_a_client_that_repeats_itself_is_heard_once() -> None:
    out = io.StringIO()
    configure_logging(Settings(log_json=True), stream=out)
    for attempt in range(500):
        logging.getLogger("a.client").error("Unable to connect: %d", attempt)
    logging.getLogger("a.client").error("Something else")
    assert [x["event"] for x in json_lines(out)] == ["Unable to connect: 0", "Something else"]


def test_below_the_level_nothing_is_written() -> None:
    out = io.StringIO()
    configure_logging(Settings(log_level="WARNING"), stream=out)
    structlog.get_logger("x").info("quiet")
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")
    assert "quiet" not in out.getvalue()
    assert "loud" in out.getvalue()


def test_without_a_terminal_there_are_no_colour_codes() -> None:
    out = io.StringIO()
    configure_logging(Settings(), stream=out)
    structlog.get_logger("x").error("plain", run_id="r1")
    assert "\x1b" not in out.getvalue()
    assert "run_id=r1" in out.getvalue()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(StartError, match="LOG_LEVEL must be one of debug, info"):
        configure_logging(Settings(log_level="loud"))


class Unsayable:
    def __repr__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_logging_never_raises_whatever_is_logged(as_json: bool, encoding: str) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    configure_logging(Settings(log_json=as_json), stream=out)
    deep: list[Any] = []
    deep.append(deep)
    logger = structlog.get_logger("x")
    logger.warning("half \ud83d", name="caf\udce9 漢")
    logger.warning("odd", **{"k\ud800": 1}, value=Unsayable(), keys={(1, 2): 3}, deep=deep, number=10**400)
    logging.getLogger("somebody").warning("%s", "caf\udce9")
    assert len(raw.getvalue().splitlines()) == 3


def test_people_read_a_graphs_traceback_line_by_line() -> None:
    out = io.StringIO()
    configure_logging(Settings(), stream=out)
    structlog.get_logger("x").warning("run.failed", run_id="r1", traceback="Traceback:\n  line 1\nKeyError: 'a'\n")
    lines = out.getvalue().splitlines()
    assert "traceback" not in lines[0]
    assert lines[1:] == ["Traceback:", "  line 1", "KeyError: 'a'"]


class Refusing(io.StringIO):
    """A stream on a full disk, or whose reader has gone."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError()])
@pytest.mark.parametrize("as_json", [True, False])
def test_a_stream_that_refuses_lines_raises_into_nobody(
    error: OSError, as_json: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Settings(log_json=as_json), stream=Refusing(error))
    structlog.get_logger("x").warning("lease.lost")
    logging.getLogger("somebody").warning("said by a library")
    assert "said by a library" not in capfd.readouterr().err


def test_a_stream_that_was_closed_is_replaced_by_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    configure_logging(Settings(log_json=True), stream=out)
    out.close()
    structlog.get_logger("x").warning("lease.lost")
    assert json.loads(capfd.readouterr().err)["event"] == "lease.lost"


def test_a_terminal_obeys_nothing_that_is_logged() -> None:
    out = io.StringIO()
    configure_logging(Settings(), stream=out)
    bad = "/a\x1b[2J\x9b31m\u202eé"
    structlog.get_logger("x").warning("page", path=bad)
    logging.getLogger("somebody").warning("from %s", bad)
    try:
        raise ValueError(bad)
    except ValueError:
        structlog.get_logger("x").exception("failed")
    structlog.get_logger("x").error("run.failed", traceback=f"one\n\ttwo {bad}\n")
    assert not {"\x1b", "\x9b", "\u202e"} & set(out.getvalue())
    assert out.getvalue().count(r"/a\x1b[2J\x9b31m\u202eé") == 4
    assert "one\n\ttwo /a" in out.getvalue()


def test_a_request_that_is_no_http_is_not_shown() -> None:
    from aiohttp.http_exceptions import InvalidURLError

    out = io.StringIO()
    configure_logging(Settings(log_json=True), stream=out)
    try:
        raise InvalidURLError("Invalid char in url: b'GET /?key=secret'")
    except InvalidURLError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", "127.0.0.1")
    (record,) = json_lines(out)
    assert "secret" not in out.getvalue() and "exception" not in record
    assert (record["event"], record["level"]) == (
        "A request that is no valid HTTP was refused: InvalidURLError (400)",
        "warning",
    )
