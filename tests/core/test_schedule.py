"""Due times of crons: fields, names, zones, clock changes, and times after a downtime. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langlog_backbone.time.schedule import SCHEDULE_CHARACTERS_MAX, Schedule, ScheduleError, moment_of, zone_of
from langlog_scheduler.crons import times_to_fire

NEW_YORK = "America/New_York"
SPRING = "2026-03-08T05:15:00+00:00"
"""A quarter past midnight of the day when New York skips the hour from two to three."""
AUTUMN = "2026-11-01T04:15:00+00:00"
"""A quarter past midnight of the day when New York has the hour from one to two twice."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def due(schedule: str, zone: str | None, after: str, count: int) -> list[str]:
    """The next due times as ``MM-DD HH:MM`` of that zone, with the offset where only that distinguishes it."""
    result, moment = [], at(after)
    for _ in range(count):
        moment = Schedule(schedule, zone).after(moment)
        result.append(moment.astimezone(zone_of(zone)).strftime("%m-%d %H:%M%z")[:-2])
    return result


def test_five_fields_six_fields_and_names_are_schedules() -> None:
    after = "2026-11-21T06:14:56+00:00"
    assert due("0 0 1 1 *", None, after, 1) == ["01-01 00:00+00"]
    assert due("@daily", None, after, 2) == ["11-22 00:00+00", "11-23 00:00+00"]
    assert Schedule("* * * * * */20").after(at(after)) == at("2026-11-21T06:15:00+00:00")
    assert due("30 12 * * 1", NEW_YORK, after, 1) == ["11-23 12:30-05"]


@pytest.mark.parametrize(
    "text", ["zzz", "", " ", "* * *", "* * * * * * *", "61 * * * *", "0 0 30 2 *", "@reboot", "@often"]
)
def test_what_is_no_schedule_or_never_due_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="Invalid cron schedule"):
        Schedule(text)


@pytest.mark.parametrize("name", ["Mars/Base", "", "../etc/passwd", "UTC\n"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ScheduleError, match="Invalid timezone"):
        Schedule("@daily", name)


def test_an_end_without_an_offset_is_utc_and_junk_is_refused() -> None:
    assert moment_of("2027-01-01T00:00:00") == moment_of("2027-01-01T00:00:00Z")
    for text in ("zzz", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        with pytest.raises(ScheduleError, match="Invalid end_time"):
            moment_of(text)


def test_a_time_of_day_that_the_clock_skips_comes_an_hour_later() -> None:
    assert due("30 2 * * *", NEW_YORK, SPRING, 2) == ["03-08 03:30-04", "03-09 02:30-04"]


def test_a_time_of_day_that_comes_twice_counts_the_first_time() -> None:
    assert due("30 1 * * *", NEW_YORK, AUTUMN, 2) == ["11-01 01:30-04", "11-02 01:30-05"]


def test_a_schedule_with_free_hours_does_not_notice_the_missing_hour() -> None:
    assert due("30 * * * *", NEW_YORK, SPRING, 3) == ["03-08 00:30-05", "03-08 01:30-05", "03-08 03:30-04"]


def test_a_schedule_with_free_hours_fires_through_the_repeated_hour() -> None:
    result = due("30 * * * *", NEW_YORK, AUTUMN, 4)
    assert result == ["11-01 00:30-04", "11-01 01:30-04", "11-01 01:30-05", "11-01 02:30-05"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]
    ),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from([1, 5, 15, 30]),
)
def test_every_so_many_minutes_is_every_so_many_minutes_whatever_the_clock_does(
    zone: str, start: datetime, minutes: int
) -> None:
    schedule, moment = Schedule(f"*/{minutes} * * * *", zone), start.astimezone(zone_of(zone))
    first = schedule.after(moment)
    assert timedelta(0) < first - moment <= timedelta(minutes=minutes)
    assert schedule.after(first) - first == timedelta(minutes=minutes)


def fired(schedule: str, due: str, now: str, grace_s: float = 300) -> list[str]:
    times = times_to_fire(Schedule(schedule), at(due), at(now), at(now), grace_s)
    return [moment.strftime("%H:%M:%S") for moment in times]


def test_a_time_that_is_a_little_late_fires_and_so_do_those_that_followed() -> None:
    result = fired("* * * * * *", "2026-01-01T00:00:01+00:00", "2026-01-01T00:00:03.500000+00:00")
    assert result == ["00:00:01", "00:00:02", "00:00:03"]


def test_after_a_downtime_the_last_missed_time_fires_once() -> None:
    result = fired("* * * * *", "2026-01-01T00:01:00+00:00", "2026-01-01T06:05:40+00:00")
    assert result == ["06:05:00"]


def test_a_missed_time_beyond_the_grace_is_skipped() -> None:
    assert fired("@daily", "2026-01-02T00:00:00+00:00", "2026-01-02T00:05:01+00:00") == []
    assert fired("@daily", "2026-01-02T00:00:00+00:00", "2026-01-02T00:05:01+00:00", 3600) == ["00:00:00"]


@pytest.mark.parametrize(
    "text",
    [
        ",".join(["*/1"] * 40_000) + " * * * *",
        "*" * 10_000_000,
        " " * 10_000_000,
        "* " * 1_000_000,
        "@" + "a" * 10_000_000,
        "0-59/99999999999999 * * * *",
        "0-9999999999 * * * *",
        "R * * * *",
        "r(0-9) 0 * * *",
        "H/5 * * * *",
        "\u0660 * * * *",
        "0 0 1 1 every",
    ],
    ids=lambda text: text[:12],
)
def test_a_schedule_that_is_too_long_or_not_plain_is_refused_at_once(text: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        Schedule(text)
    assert len(str(refused.value)) < 1_000, "what was sent is not repeated whole"


@pytest.mark.parametrize("entry", ["*/1", "0-59/1", "0", "59"])
def test_the_longest_schedule_is_read_as_any_other(entry: str) -> None:
    minutes = ",".join([entry] * ((SCHEDULE_CHARACTERS_MAX - 8) // (len(entry) + 1)))
    result = Schedule(f"{minutes} * * * *").between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert len(result) in (24, 25, 1_000)


@pytest.mark.parametrize("name", ["A" * 10_000_000, "../../etc/passwd", "a/" * 100_000, "\udce9"])
def test_a_time_zone_of_no_place_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        Schedule("@daily", name)
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("* * * * * *", 1),
        ("* * * * * */20", 20),
        ("* * * * * 0,59", 1),
        ("*/5 * * * * 0,1", 1),
        ("0 0 * * * 7", 86_400),
        ("* * * * *", 60),
        ("*/7 * * * *", 240),
        ("0,59 0,23 * * *", 60),
        ("0 9-17 * * mon-fri", 3600),
        ("@hourly", 3600),
        ("@yearly", 86_400),
    ],
)
def test_the_least_interval_of_a_schedule_is_known_without_trying(text: str, seconds: int) -> None:
    assert Schedule(text).least_interval_s() == seconds
