"""A checkpoint that the projector could not store is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest
from langlog_executor.checkpoints.emission import ADDRESS_BYTES_MAX, UnstorableCheckpoint, storable
from langlog_schemas.checkpoints import ChannelBlob, CheckpointBody, Write, WritesBody, decode_checkpoint, decode_writes
from msgspec.structs import replace

THREAD = "0198c0de-0000-7000-8000-000000000001"
BODY = CheckpointBody("", "c1", "c0", "msgpack", b"d", b"{}", {"a": "1"}, [ChannelBlob("a", "1", "msgpack", b"d")], "r")
WRITES = WritesBody("", "c1", "t", "~", [Write(0, "a", "msgpack", b"d")])


def test_what_can_be_stored_is_encoded_as_it_is() -> None:
    assert decode_checkpoint(storable(THREAD, BODY)) == BODY
    assert decode_writes(storable(THREAD, WRITES)) == WRITES
    long = replace(BODY, namespace="n" * (ADDRESS_BYTES_MAX - 100))
    assert decode_checkpoint(storable(THREAD, long)) == long


@pytest.mark.parametrize("bad", [5, True, None, ["c"], "a\0b", "x" * ADDRESS_BYTES_MAX, "é" * (ADDRESS_BYTES_MAX // 2)])
@pytest.mark.parametrize("name", ["namespace", "checkpoint_id", "parent_id", "run_id"])
def test_an_address_that_no_record_or_no_row_can_have_is_refused(name: str, bad: Any) -> None:
    if bad is None and name in ("parent_id", "run_id"):
        return
    with pytest.raises(UnstorableCheckpoint):
        storable(THREAD, replace(BODY, **{name: bad}))


@pytest.mark.parametrize("bad", [5, "a\0b", "x" * ADDRESS_BYTES_MAX])
def test_names_of_channels_tasks_and_threads_are_looked_at_too(bad: Any) -> None:
    for body in (
        replace(BODY, versions={bad: "1"}),
        replace(BODY, blobs=[ChannelBlob(bad, "1", "msgpack", b"")]),
        replace(WRITES, task_id=bad),
        replace(WRITES, task_path=bad),
        replace(WRITES, writes=[Write(0, bad, "msgpack", b"")]),
    ):
        with pytest.raises(UnstorableCheckpoint):
            storable(THREAD, body)
    if isinstance(bad, str):
        with pytest.raises(UnstorableCheckpoint):
            storable(bad, BODY)
