"""`langlog log show` has a line for every event that was ever written, golden record by golden record."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from langlog.log.timeline import bars, describe, gaps, style_of, timeline, title
from langlog_backbone.history.event_view import data_of
from langlog_backbone.history.thread_history import RecordedEvent
from langlog_backbone.log import Record
from langlog_schemas import checkpoints as cp
from langlog_schemas import events as ev

from tests.consuming.golden import FOLDER, RUN, THREAD, bytes_of

LINE_MAX = 400


def recorded(type_name: str) -> list[RecordedEvent]:
    found = []
    for one in msgspec.json.decode((FOLDER / f"{type_name}.json").read_bytes())["records"]:
        record = Record(one["topic"], 0, 7, one["key"], bytes_of(one), one["headers"])
        found.append(RecordedEvent(record, ev.decode(type_name, record.value), RUN))
    return found


@pytest.mark.parametrize("type_name", [cls.TYPE for cls in ev.EVENTS.values()])
def test_every_event_is_one_line_that_says_what_happened(type_name: str) -> None:
    entries = recorded(type_name)
    for entry, line in zip(entries, timeline(entries), strict=True):
        assert re.match(r"\+ +0\.000 s  \d\d:\d\d:\d\d\.\d{3}  \S", line), line
        assert len(line) < LINE_MAX
        assert "\n" not in line
        assert not set(style_of(entry)) - {"fg", "dim"}


@pytest.mark.parametrize("type_name", [cls.TYPE for cls in ev.EVENTS.values()])
def test_every_event_has_a_body_in_json(type_name: str) -> None:
    for entry in recorded(type_name):
        assert isinstance(msgspec.json.decode(data_of(entry.record)), dict)


def test_lines_of_webhooks_frames_and_pieces_say_how_it_went_and_how_much_it_was() -> None:
    assert re.match(r"try \d+ (delivered|failed) \(.+\) in \d+ ms", describe(recorded("webhook.attempted.v1")[0])[1])
    assert re.match(r"\d+ recorded \(.+\), \d+ B", describe(recorded("run.frames.v1")[0])[1])
    assert re.match(r"\d+ of \d+ of a body", describe(recorded("checkpoint.part.v1")[0])[1])


@pytest.mark.parametrize(
    ("channel", "line"), [("__resume__", ("resumed", "the run")), ("messages", ("command", "messages (2 B)"))]
)
def test_what_a_command_wrote_is_the_runs_and_names_no_task(channel: str, line: tuple[str, str]) -> None:
    (entry, *_) = recorded("checkpoint.writes.v1")
    assert isinstance(entry.event, ev.CheckpointWrites)
    body = cp.WritesBody("", "c", "00000000-0000-0000-0000-000000000000", "", [cp.Write(0, channel, "json", b"{}")])
    event = msgspec.structs.replace(entry.event, body=cp.encode(body))
    assert describe(RecordedEvent(entry.record, event, RUN)) == line


def test_what_this_release_cannot_read_is_a_line_too() -> None:
    record = recorded("run.created.v1")[0].record
    unread = RecordedEvent(record, None, RUN)
    assert "sealed, or of a newer langlog" in next(iter(timeline([unread])))
    assert style_of(unread) == {}
    assert title([unread], RUN, THREAD).startswith(f"run {RUN} on thread {THREAD}, 2")


def at(seconds: float, type_name: str) -> RecordedEvent:
    entry = recorded(type_name)[0]
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    headers = {**entry.record.headers, "ce_time": moment.isoformat()}
    return entry._replace(record=msgspec.structs.replace(entry.record, headers=headers))


def test_an_axis_shows_when_each_event_was_and_what_took_long_is_named() -> None:
    entries = [
        at(0, "run.created.v1"),
        at(0.01, "run.dispatched.v1"),
        at(2, "run.started.v1"),
        at(2.05, "run.succeeded.v1"),
    ]
    axis = bars(entries, 10)
    assert [len(bar) for bar in axis] == [10] * 4
    assert axis[0].startswith("━ ") and axis[2].count("━") > 5 and axis[3].rstrip().endswith("━")
    assert gaps(entries) == {2: "2.0 s: waited for a worker"}
    assert bars([at(0, "run.created.v1")], 10) == ["━         "]


def test_a_clock_that_goes_back_breaks_no_axis() -> None:
    entries = [at(1, "run.created.v1"), at(0.5, "run.dispatched.v1"), at(3, "run.started.v1")]
    assert all(len(bar) == 10 for bar in bars(entries, 10))
