"""A thread's checkpoints folded in memory, for replays: as the read model has them."""

from __future__ import annotations

from langlog_executor.replay.recorded import Recorded
from langlog_schemas import checkpoints as cp
from langlog_schemas import events as ev
from msgspec import Raw

THREAD = "t"


def checkpoint(
    id: str, run_id: str | None = "r1", parent: str | None = None, value: bytes = b"v"
) -> ev.CheckpointWritten:
    body = cp.CheckpointBody(
        "", id, parent, "msgpack", b"data", b"{}", {"x": id}, [cp.ChannelBlob("x", id, "msgpack", value)], run_id
    )
    return ev.CheckpointWritten(thread_id=THREAD, run_id=run_id, attempt=1, body=cp.encode(body))


def writes(id: str, run_id: str | None = "r1", task: str = "task") -> ev.CheckpointWrites:
    body = cp.WritesBody("", id, task, "~__pregel_pull, node", [cp.Write(0, "x", "msgpack", b"w")])
    return ev.CheckpointWrites(thread_id=THREAD, run_id=run_id, attempt=1, body=cp.encode(body))


def fold(*events: ev.AnyEvent) -> Recorded:
    recorded = Recorded(THREAD)
    for event in events:
        recorded.note(event)
    return recorded


def test_the_latest_checkpoint_is_the_last_that_came_whatever_its_id() -> None:
    recorded = fold(checkpoint("k2"), checkpoint("k1"))
    assert recorded.head() == "k1"
    assert recorded.head("child") is None


def test_a_checkpoint_holds_its_values_and_what_was_written_on_it() -> None:
    stored = fold(checkpoint("k1", value=b"mine"), writes("k1"), writes("k1", task="other")).stored(("", "k1"))
    assert stored.blobs == {"x": ("msgpack", b"mine")}
    assert [write.task_id for write in stored.writes] == ["other", "task"]


def test_a_run_that_is_deleted_or_rolled_back_takes_its_checkpoints_and_writes_along() -> None:
    before = (
        checkpoint("k1"),
        writes("k1", "r2"),
        writes("k1", "r1", "kept"),
        checkpoint("k2", "r2", "k1"),
        writes("k2", "r2"),
    )
    for gone in (
        ev.RunDeleted(thread_id=THREAD, run_id="r2"),
        ev.CheckpointsDeleted(thread_id=THREAD, run_ids=["r2"]),
    ):
        recorded = fold(*before, gone)
        assert list(recorded.checkpoints) == [("", "k1")]
        assert [write.task_id for write in recorded.stored(("", "k1")).writes] == ["kept"]


def test_a_checkpoint_that_is_written_again_stays_its_first_writer_s_and_where_it_was() -> None:
    recorded = fold(checkpoint("k1", value=b"old"), checkpoint("k2"), checkpoint("k1", "r2", "k0", b"new"))
    stored = recorded.stored(("", "k1"))
    assert (stored.run_id, stored.parent_id, stored.blobs["x"]) == ("r1", None, ("msgpack", b"new"))
    assert recorded.head() == "k2"
    recorded.note(ev.RunDeleted(thread_id=THREAD, run_id="r2"))
    assert ("", "k1") in recorded.checkpoints


def test_parts_make_a_checkpoint_once_all_are_there() -> None:
    whole = checkpoint("k1").body
    parts = [
        ev.CheckpointPart(
            thread_id=THREAD,
            run_id="r1",
            attempt=1,
            blob_id="b",
            index=n,
            count=2,
            whole="checkpoint.written.v1",
            body=piece,
        )
        for n, piece in enumerate((whole[:9], whole[9:]))
    ]
    recorded = fold(parts[0])
    assert recorded.head() is None
    assert recorded.note(parts[1]) is not None
    assert recorded.head() == "k1"


def test_an_update_of_the_state_belongs_to_no_run_and_a_deleted_thread_is_empty() -> None:
    body = cp.decode_checkpoint(checkpoint("k1", None).body)
    update = ev.StateUpdated(
        thread_id=THREAD, checkpoints=[cp.encode(cp.Bundle(body))], values=Raw(b"{}"), status="idle"
    )
    recorded = fold(update, ev.RunDeleted(thread_id=THREAD, run_id="r1"))
    assert recorded.stored(("", "k1")).run_id is None
    recorded.note(ev.ThreadDeleted(thread_id=THREAD))
    assert recorded.head() is None
