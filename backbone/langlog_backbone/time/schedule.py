"""Due times of crons: schedules of five or six fields (the sixth counts seconds) or a name like ``@daily``, in a time zone.

Clock changes, as docs/how-to/crons.md describes. A schedule whose hour is free (``*``, ``*/2``, ``@hourly``) follows the time
that passes:
it fires through the repeated hour, and nothing is missed in the skipped one. Any other names times of day, and fires once for each: a
skipped time is postponed by as much as the clock was set forward, a repeated time counts the first time.

Pure; depends on the time zone database of the machine. Nothing here waits.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

SCHEDULE_CHARACTERS_MAX = 1_000
"""Maximum length of a schedule, in characters: every minute, hour, day and month by its number take 400. Parsing takes time
with its length."""
BAD_SCHEDULE = (
    "Invalid cron schedule: '{}'. Reason: Invalid cron schedule. Ensure the schedule uses the standard cron format "
    "(minute hour day_of_month month day_of_week). Example: '*/5 * * * *' for every 5 minutes."
)
LONG_SCHEDULE = (
    f"Invalid cron schedule: it has {{}} characters, more than {SCHEDULE_CHARACTERS_MAX}. Use a shorter one."
)
QUICK_SCHEDULE = (
    "Invalid cron schedule: '{}'. Reason: two of its times are {} s apart, and this server takes at least {:g} s "
    "(LANGLOG_CRON_MIN_INTERVAL_SECS). Use a schedule that is due less often."
)
BAD_TIMEZONE = "Invalid timezone: '{}'. Use IANA timezone format (e.g. 'America/New_York')."
BAD_MOMENT = "Invalid end_time: '{}'. Use an ISO 8601 date and time (e.g. '2027-01-01T00:00:00Z')."

SHOWN_CHARACTERS_MAX = 200
"""Maximum number of characters of an invalid schedule, time zone or moment that an error repeats."""
_FIELD = re.compile(r"[0-9A-Za-z*/,#?-]+", re.ASCII)
_LONG_NUMBER = re.compile(r"\d{5}")
_ALPHABETIC = re.compile(r"[A-Za-z]+")
_WORDS = frozenset(
    [
        "jan",
        "feb",
        "mar",
        "apr",
        "may",
        "jun",
        "jul",
        "aug",
        "sep",
        "oct",
        "nov",
        "dec",
        "sun",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "l",
        "w",
    ]
)
"""Allowed words of a field. croniter also accepts ``H`` and ``R``, which would give other due times at each evaluation."""

FREE_HOURS = ("@hourly",)
LONGEST_GAP_YEARS = 50
FAR = timedelta(days=2)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
LOOK_BACK = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366))


class ScheduleError(ValueError):
    """Not a valid schedule, time zone or moment. The message is for the client."""


class Schedule:
    """A schedule in a time zone. Raises ScheduleError for a text that is not a schedule, or for a schedule that is never due."""

    def __init__(self, text: str, timezone: str | None = None) -> None:
        self._zone = zone_of(timezone)
        if len(text) > SCHEDULE_CHARACTERS_MAX:
            raise ScheduleError(LONG_SCHEDULE.format(len(text)))
        fields = text.split()
        names = len(fields) == 1 and text.startswith("@") and text.lower() != "@reboot"
        if not (names or (len(fields) in (5, 6) and all(map(_plain, fields)))) or not croniter.is_valid(text):
            raise ScheduleError(BAD_SCHEDULE.format(shown(text)))
        # parsed once: parsing takes longer than finding the next time
        self._cron = croniter(text, datetime(2024, 1, 1), max_years_between_matches=LONGEST_GAP_YEARS)
        self._free = fields[1].startswith("*") if len(fields) > 1 else text.lower() in FREE_HOURS
        try:
            self.after(datetime(2024, 1, 1, tzinfo=UTC))
        except (ValueError, OverflowError):  # croniter's errors are ValueErrors: 30 February
            raise ScheduleError(BAD_SCHEDULE.format(shown(text))) from None

    def after(self, moment: datetime) -> datetime:
        """Return the first due time after ``moment`` (aware), in UTC."""
        moment_due = self._running(moment) if self._free else self._at_times_of_day(moment)
        return moment_due.astimezone(UTC)

    def between(self, start: datetime, end: datetime, limit: int = 1000) -> list[datetime]:
        """Return the times due from ``start`` to ``end``, both included, at most ``limit``."""
        moments: list[datetime] = []
        at = self.after(start - SECOND / 1_000_000)
        while at <= end and len(moments) < limit:
            moments.append(at)
            at = self.after(at)
        return moments

    def latest(self, start: datetime, end: datetime) -> datetime | None:
        """Return the last time due from ``start`` to ``end``, both included."""
        for span in LOOK_BACK:
            since = max(start, end - span)
            moments = self.between(since, end, limit=100_000)
            if moments:
                return moments[-1]
            if since == start:
                break
        return None

    def least_interval_s(self) -> int:
        """Return the seconds between the two times that are closest together, clock changes left aside; at least that, for a schedule
        whose days are never next to each other."""
        minutes, hours = (_numbers(field, full) for field, full in zip(self._cron.expanded, (60, 24), strict=False))
        seconds = _numbers(self._cron.expanded[5], 60) if len(self._cron.expanded) > 5 else [0]
        of_day = [hour * 60 + minute for hour in hours for minute in minutes]
        within = [later - earlier for earlier, later in pairwise(seconds)]
        across = min((later - earlier for earlier, later in pairwise([*of_day, of_day[0] + 24 * 60])), default=24 * 60)
        return min([*within, across * 60 - (seconds[-1] - seconds[0])])

    def _next(self, wall: datetime) -> datetime:
        """Return the next time on a clock without changes."""
        self._cron.set_current(wall, force=True)
        following: datetime = self._cron.get_next(datetime)
        return following

    def _at_times_of_day(self, moment: datetime) -> datetime:
        wall = moment.astimezone(self._zone).replace(tzinfo=None)
        while True:
            wall = self._next(wall)
            # fold 0: of two the first; of a time that is skipped, the offset before
            at = wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
            if at > moment:
                return at

    def _running(self, moment: datetime) -> datetime:
        at = moment.astimezone(UTC)
        included = SECOND * 0
        while True:
            offset = self._offset(at)
            wall = self._next((at + offset - included).replace(tzinfo=None))
            due = wall.replace(tzinfo=UTC) - offset
            if self._offset(due) == offset:
                return due
            if due - at > FAR:
                at, included = due - DAY, SECOND * 0
            else:
                at, included = self._change(at, due), SECOND

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self._zone).utcoffset() or timedelta(0)

    def _change(self, low: datetime, high: datetime) -> datetime:
        """Return the time between the two at which the clock changes, to the second."""
        before = self._offset(low)
        while high - low > SECOND:
            middle = (low + (high - low) / 2).replace(microsecond=0)
            if middle <= low:
                break
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return high.replace(microsecond=0)


def _numbers(field: list[int | str], full: int) -> list[int]:
    """Return the numbers of a field as croniter parsed it, in order. ``full``: the count of numbers that ``*`` covers."""
    named = [number for number in field if isinstance(number, int)]
    return sorted(named) if len(named) == len(field) else list(range(full))


def _plain(field: str) -> bool:
    """Return whether a field consists only of valid parts, so that croniter reads it in little time."""
    return (
        _FIELD.fullmatch(field) is not None
        and _LONG_NUMBER.search(field) is None
        and all(word.lower() in _WORDS for word in _ALPHABETIC.findall(field))
    )


def shown(text: str) -> str:
    """Return a client's text as an error repeats it."""
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}… ({len(text)} characters)"


def zone_of(name: str | None) -> tzinfo:
    """Return the time zone of an IANA name; UTC without a name. Raises ScheduleError."""
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(BAD_TIMEZONE.format(shown(name))) from None


def moment_of(text: str) -> datetime:
    """Return an ISO 8601 date and time in UTC; without an offset it is UTC. Raises ScheduleError."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ScheduleError(BAD_MOMENT.format(shown(text))) from None
