"""Records that nobody waits for are held back, each partition by itself, and never longer than they may be."""

from __future__ import annotations

from langlog_backbone.log import Record
from langlog_projector.service import HELD_BYTES, LINGER_S, UNNAMED_LINGER_S, Held
from langlog_schemas import envelope
from langlog_schemas import events as ev

OFFSETS = iter(range(1_000_000))


def record(type_name: str, key: str, partition: int = 0, *, waited: bool = False, value: bytes = b"{}") -> Record:
    reply = "gateway" if waited else None
    headers = envelope.headers(id="i", type=type_name, source="s", time="t", subject=key, reply_to=reply)
    return Record(ev.RUN_EVENTS, partition, next(OFFSETS), key, value, headers)


def stateless(key: str, partition: int = 0, *, waited: bool = False) -> Record:
    return record(ev.RunCreated.TYPE, key, partition, waited=waited, value=b'{"run_id":"r","temporary":true}')


def test_what_somebody_waits_for_goes_on_at_once_with_what_stands_before_it_in_its_partition() -> None:
    held = Held()
    started, other = record(ev.RunStarted.TYPE, "a"), record(ev.RunStarted.TYPE, "b", 1)
    held.add([started, other], 0.0)
    assert held.take(0.0) == []
    ended = record(ev.RunSucceeded.TYPE, "a")
    held.add([ended], 0.001)
    assert held.take(0.001) == [started, ended]
    assert held.until == LINGER_S
    assert held.take(LINGER_S) == [other]
    assert held.take(1.0) == []


def test_a_reply_is_waited_for_too() -> None:
    held = Held()
    created = stateless("a", waited=True)
    held.add([created], 5.0)
    assert held.take(5.0) == [created]


def test_a_stateless_run_that_nobody_can_name_waits_longer_and_so_does_what_it_writes() -> None:
    held = Held()
    records = [stateless("a"), record(ev.RunStarted.TYPE, "a"), record(ev.CheckpointSteps.TYPE, "a")]
    held.add(records[:1], 0.0)
    held.add(records[1:], 0.01)
    assert held.take(LINGER_S + 0.01) == []
    assert held.until == UNNAMED_LINGER_S
    assert held.take(UNNAMED_LINGER_S) == records


def test_another_thread_of_the_partition_takes_it_along() -> None:
    held = Held()
    records = [stateless("a"), record(ev.CheckpointSteps.TYPE, "b")]
    held.add(records, 0.0)
    assert held.take(LINGER_S) == records


def test_what_was_folded_once_is_no_reason_to_wait_longer_later() -> None:
    held = Held()
    held.add([stateless("a")], 0.0)
    assert len(held.take(UNNAMED_LINGER_S)) == 1
    held.add([record(ev.RunStarted.TYPE, "a")], 1.0)
    assert held.until == 1.0 + LINGER_S


def test_much_that_is_held_goes_on_at_once() -> None:
    held = Held()
    large = record(ev.CheckpointSteps.TYPE, "a", value=bytes(HELD_BYTES))
    held.add([large, record(ev.RunStarted.TYPE, "b", 1)], 0.0)
    assert len(held.take(0.0)) == 2
    held.add([record(ev.RunStarted.TYPE, "b", 1)], 0.0)
    assert held.take(0.0) == []


def test_cleared_it_holds_nothing() -> None:
    held = Held()
    held.add([stateless("a"), record(ev.RunStarted.TYPE, "b", 1)], 0.0)
    held.clear()
    assert held.until == float("inf")
    assert held.take(9.0) == []
