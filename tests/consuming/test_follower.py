"""`Follower` drops records that a consumer must not count twice; and it needs only msgspec."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langlog_projector.folding.fold import Fences
from langlog_schemas import envelope
from langlog_schemas import events as ev
from langlog_schemas.consumer import Follower, Sealed, UnknownType, event_of, headers_of
from langlog_schemas.envelope import Cause

from tests.consuming.golden import RUN, THREAD, TIME

Entry = tuple[dict[str, str], bytes]


def decided(offset: int, event: ev.Event, index: int = 0, count: int = 1) -> Entry:
    cause = Cause(0, offset, index, count)
    headers = envelope.headers(
        id=cause.event_id, type=event.TYPE, source="/langlog/decider", time=TIME, subject=event.key, cause=cause
    )
    return headers, ev.encode(event)


def worked(number: int, event: ev.Event, attempt: int) -> Entry:
    id = f"{RUN}-{attempt}-{number}"
    return envelope.headers(id=id, type=event.TYPE, source="/langlog/executor", time=TIME, subject=THREAD), ev.encode(
        event
    )


def dispatched(attempt: int) -> ev.Event:
    return ev.RunDispatched(thread_id=THREAD, run_id=RUN, attempt=attempt)


def started(attempt: int) -> ev.Event:
    return ev.RunStarted(thread_id=THREAD, run_id=RUN, attempt=attempt, worker="w")


def ended() -> ev.Event:
    return ev.RunSucceeded(thread_id=THREAD, run_id=RUN, status="idle")


def frames(attempt: int) -> ev.Event:
    return ev.RunFrames(thread_id=THREAD, run_id=RUN, attempt=attempt, first_sequence=1, frames=b"")


HISTORY = [
    decided(3, dispatched(1)),
    worked(1, started(1), 1),
    worked(2, frames(1), 1),
    decided(5, dispatched(2)),
    worked(1, started(2), 2),
    worked(2, frames(2), 2),
    decided(9, ended(), 0, 2),
    decided(9, ev.ThreadDeleted(thread_id=THREAD), 1, 2),
]


def described(entries: list[Entry]) -> list[str]:
    follower = Follower()
    return [
        headers["ce_id"] for headers, value in entries if follower.event("run-events", 0, headers, value) is not None
    ]


ONCE = described(HISTORY)


def test_a_history_without_duplicates_is_told_whole() -> None:
    assert [headers["ce_id"] for headers, _ in HISTORY] == ONCE


@given(st.lists(st.tuples(st.integers(0, len(HISTORY) - 1), st.integers(0, len(HISTORY) * 3))))
def test_any_record_that_comes_again_later_is_told_once(again: list[tuple[int, int]]) -> None:
    entries = list(HISTORY)
    for which, later in again:
        first = entries.index(HISTORY[which])
        entries.insert(min(len(entries), first + 1 + later), HISTORY[which])
    assert described(entries) == ONCE


def test_a_worker_that_was_taken_for_dead_is_not_heard_after_the_next_dispatch() -> None:
    late = worked(3, frames(1), 1)
    assert described([*HISTORY[:4], late]) == ONCE[:4]
    assert late[0]["ce_id"] in described([*HISTORY[:3], late])
    assert described([*HISTORY, worked(3, frames(2), 2)]) == ONCE


@given(st.integers(0, len(HISTORY)))
def test_a_saved_follower_goes_on_as_if_nothing_had_been(cut: int) -> None:
    follower = Follower()
    collected = []
    for n, (headers, value) in enumerate([*HISTORY[:cut], *HISTORY[max(0, cut - 2) :]]):
        if n == cut:
            follower = Follower.restore(follower.save())
        if follower.event("run-events", 0, headers, value) is not None:
            collected.append(headers["ce_id"])
    assert collected == ONCE


def test_of_two_owners_that_decide_a_command_otherwise_the_first_counts_and_nothing_of_the_second() -> None:
    first = [decided(9, dispatched(1), 0, 2), decided(9, ended(), 1, 2)]
    more = [decided(9, dispatched(1), index, 3) for index in range(3)]
    after = decided(10, ev.ThreadDeleted(thread_id=THREAD))
    follower = Follower()
    counted = [follower.event("run-events", 0, *entry) is not None for entry in [*first, *more, after]]
    assert counted == [True, True, False, False, False, True]
    fences = Fences()
    for (headers, _), counts in zip([*first, *more, after], counted, strict=True):
        cause = Cause.parse(headers["ce_cause"])
        assert fences.duplicate("run-events", cause) is not counts
        if counts:
            fences.causes["run-events", 0] = cause


def test_what_an_older_release_has_saved_is_gone_on_from() -> None:
    follower = Follower.restore(b'{"causes":{"run-events/0":[9,0]},"attempts":{},"numbers":{}}')
    assert follower.event("run-events", 0, *decided(9, ended(), 1, 2)) is not None


def test_partitions_and_topics_are_apart() -> None:
    follower = Follower()
    headers, value = decided(3, ended())
    assert follower.event("run-events", 0, headers, value) is not None
    assert follower.event("run-events", 1, headers, value) is not None
    assert follower.event("cron-events", 0, headers, value) is not None
    assert follower.event("run-events", 0, headers, value) is None


def test_what_a_consumer_cannot_read_has_a_name() -> None:
    headers, value = decided(3, ended())
    with pytest.raises(UnknownType):
        event_of({**headers, "ce_type": "langlog.run.succeeded.v9"}, value)
    with pytest.raises(Sealed):
        event_of({**headers, envelope.SEALED: "1"}, value)


MODULES = [
    f"langlog_schemas.{file.stem}"
    for file in (Path(__file__).parents[2] / "schemas" / "langlog_schemas").glob("*.py")
    if file.stem != "__init__"
]


def test_the_language_can_be_imported_with_msgspec_alone() -> None:
    code = f"""
import importlib, sys
from importlib.machinery import PathFinder
allowed = {{"langlog_schemas", "msgspec"}} | set(sys.stdlib_module_names)

class Guard:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ImportError(f"{{name}} is not msgspec")
        return None

sys.meta_path.insert(0, Guard)
for name in {MODULES!r}:
    importlib.import_module(name)
from langlog_schemas.consumer import Follower
print(type(Follower().event("run-events", 0, {{"ce_type": "langlog.run.succeeded.v1"}}, b'{{"thread_id":"t","run_id":"r","status":"idle"}}')).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert done.stdout.strip() == "RunSucceeded", done.stderr


def test_headers_of_another_producer_that_are_no_text_are_replaced() -> None:
    pairs = [("ce_type", b"thread.created.v1"), ("trace", b"caf\xe9"), ("empty", None)]
    assert headers_of(pairs) == {"ce_type": "thread.created.v1", "trace": "caf\N{REPLACEMENT CHARACTER}", "empty": ""}
