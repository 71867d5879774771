"""The index of positions, without servers."""

from __future__ import annotations

from langlog_schemas import event_index as ix
from langlog_schemas import events as ev


def test_every_event_of_a_thread_has_a_code_of_its_own() -> None:
    names = {ix.unversioned(name) for name, event in ev.EVENTS.items() if event.TOPIC == ev.RUN_EVENTS}
    assert names <= ix.CODES.keys(), "append the new ones to CODES; never change a code"
    assert len(set(ix.CODES.values())) == len(ix.CODES) and all(0 < code < 256 for code in ix.CODES.values())


def test_codes_that_were_released_stay() -> None:
    assert ix.CODES["command.rejected"] == 1
    assert ix.CODES["run.created"] == 8
    assert ix.CODES["checkpoint.part"] == 22


def test_what_is_packed_comes_back() -> None:
    offsets = [0, 1, 255, 256, 257, 70_000]
    for offset in offsets:
        entry = ix.pack(offset, "run.created.v1")
        assert list(ix.unpack(offset // ix.SPAN, "r", entry)) == [(offset, "r", ix.CODES["run.created"])]


def test_a_type_that_is_not_known_yet_is_found_by_every_question() -> None:
    assert ix.pack(3, "run.paused.v1")[1] == 0
    assert ix.wanted(("run.created",))(0)
    assert not ix.matches("run.paused.v1", ("run.created",))
    assert ix.matches("langlog.run.paused.v1", ("langlog.run.",))
