"""Copying a thread, whole or up to a checkpoint: by value, through the log (wire contract §3).

The checkpoints are read from Postgres and appended as state updates of the new thread, with their ids, in records within the log's
limit. A copy of a thread that waits for an answer waits for it too. A gateway that dies in between leaves a thread with fewer
checkpoints, or one that does not wait, and the client without a response.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from langlog_backbone.postgres.database import load_sql
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from msgspec import Raw

from ..http.backends import Reads
from .splitting import NO_VALUES, fitting, with_checkpoints

SQL = load_sql("langlog_gateway", "threads.sql")


async def copied_state(reads: Reads, source: str, target: str, record_bytes: int) -> list[cmd.UpdateState]:
    """Return commands that copy the checkpoints of ``source`` to ``target``."""
    checkpoints = await reads.rows_as_stored(SQL["checkpoints"], source, target)
    if not checkpoints:
        return []
    blobs = await reads.rows(SQL["blobs"], source)
    writes = await reads.rows(SQL["writes"], source)
    return _commands(target, bundle(checkpoints, blobs, writes), record_bytes)


async def waiting_state(reads: Reads, source: Any, target: str, record_bytes: int) -> list[cmd.UpdateState]:
    """Return the command that gives a copy the values and open interrupts of a thread that waits, to follow its checkpoints.

    ``source`` is the thread's row from before its checkpoints were read. No command if it did not wait then, or has gone on since:
    then the copied checkpoints may be later than what it waited for.
    """
    if source["status"] != "interrupted":
        return []
    rows = await reads.rows_as_stored(SQL["get"], source["thread_id"])
    if not rows or any(rows[0][column] != source[column] for column in ("status", "state_updated_at")):
        return []
    values, interrupts = (rows[0]["state_values"] or "null").encode(), (rows[0]["interrupts"] or "{}").encode()
    state = cmd.UpdateState(
        thread_id=target, checkpoints=[], values=Raw(values), interrupts=Raw(interrupts), status="interrupted"
    )
    return fitting(state, record_bytes)


async def forked_state(
    reads: Reads, source: str, target: str, checkpoint_id: str, record_bytes: int
) -> list[cmd.UpdateState]:
    """Return commands that copy the history of ``source`` up to a checkpoint to ``target``; none if the checkpoint does not exist.

    If later ones exist, writes of the checkpoint's own tasks are left out: the fork executes them anew. The latest one keeps
    them, with its open interrupts.
    """
    latest = await reads.value(SQL["head"], source) == checkpoint_id
    checkpoints = await reads.rows(SQL["fork_checkpoints"], source, target, checkpoint_id, latest)
    if not checkpoints:
        return []
    names = [(row["ns"], row["checkpoint_id"]) for row in checkpoints]
    blobs = await reads.rows(SQL["blobs_of"], source, *_columns(names))
    written = [name for name in names if latest or name != ("", checkpoint_id)]
    writes = await reads.rows(SQL["writes_of"], source, *_columns(written))
    return _commands(target, bundle(checkpoints, blobs, writes), record_bytes)


def _columns(names: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [ns for ns, _ in names], [id for _, id in names]


def _commands(target: str, bundles: Iterable[bytes], record_bytes: int) -> list[cmd.UpdateState]:
    update = cmd.UpdateState(thread_id=target, checkpoints=[], values=NO_VALUES, checkpoints_only=True)
    return list(with_checkpoints(update, bundles, record_bytes))


def bundle(checkpoints: Iterable[Any], blobs: Iterable[Any], writes: Iterable[Any]) -> Iterator[bytes]:
    """Return rows as encoded bundles, oldest checkpoint first. A channel's blob travels with the first that names it."""
    at: dict[tuple[str, str, str], cp.ChannelBlob] = {
        (row["ns"], row["channel"], row["version"]): cp.ChannelBlob(
            row["channel"], row["version"], row["type"], row["data"]
        )
        for row in blobs
    }
    tasks: dict[tuple[str, str], dict[str, cp.WritesBody]] = defaultdict(dict)
    for row in writes:
        body = tasks[(row["ns"], row["checkpoint_id"])].setdefault(
            row["task_id"], cp.WritesBody(row["ns"], row["checkpoint_id"], row["task_id"], row["task_path"], [])
        )
        body.writes.append(cp.Write(row["idx"], row["channel"], row["type"], row["data"]))
    for row in checkpoints:
        versions = msgspec.json.decode(row["versions"], type=dict[str, str])
        carried = [
            blob
            for channel, version in versions.items()
            if (blob := at.pop((row["ns"], channel, version), None)) is not None
        ]
        yield cp.encode(
            cp.Bundle(
                checkpoint=cp.CheckpointBody(
                    row["ns"],
                    row["checkpoint_id"],
                    row["parent_id"],
                    row["type"],
                    row["data"],
                    row["metadata"].encode(),
                    versions,
                    carried,
                    None,  # the copy has no runs: nothing removes these with one
                ),
                writes=list(tasks.pop((row["ns"], row["checkpoint_id"]), {}).values()),
            )
        )
