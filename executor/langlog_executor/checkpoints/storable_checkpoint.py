"""Checks that the projector can store a checkpoint before it is written, because afterwards it is in the log.

Addresses come from graph code and from clients (``configurable``). One of another type, with a NUL character, or too long for an
index of Postgres' would park its thread. The run fails instead, and its thread stays usable. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from langlog_schemas.checkpoints import CheckpointBody, WritesBody, decode_checkpoint, decode_writes, encode

ADDRESS_BYTES_MAX = 2_000
"""Maximum bytes of the names that one index of Postgres holds together: namespace and channel, or namespace, checkpoint and task."""
UTF8_BYTES_MAX = 4
"""Maximum bytes of one character."""


class UnstorableCheckpoint(ValueError):
    """The checkpoint cannot be stored under this address."""

    for_clients = True


def storable(thread_id: str, body: CheckpointBody | WritesBody) -> bytes:
    """Return the encoded body. Raises UnstorableCheckpoint."""
    data = encode(body)
    try:
        (decode_checkpoint if isinstance(body, CheckpointBody) else decode_writes)(data)
    except msgspec.ValidationError as error:
        raise UnstorableCheckpoint(f"a checkpoint cannot be stored as its config has it: {error}") from None
    addresses = list(_addresses(thread_id, body))
    names = "".join([name for address in addresses for name in address])
    if "\0" in names:
        raise UnstorableCheckpoint("a checkpoint cannot be stored: its address has a NUL character in it")
    for address in addresses if len(names) * UTF8_BYTES_MAX > ADDRESS_BYTES_MAX else ():
        size = sum(len(name.encode()) for name in address)
        if size > ADDRESS_BYTES_MAX:
            raise UnstorableCheckpoint(
                f"a checkpoint cannot be stored: thread, namespace and name take {size} bytes, more than {ADDRESS_BYTES_MAX}"
            )
    return data


def _addresses(thread_id: str, body: CheckpointBody | WritesBody) -> Iterator[tuple[str, ...]]:
    """Yield the names of each row of the body."""
    space = (thread_id, body.namespace)
    yield (*space, body.checkpoint_id)
    if isinstance(body, WritesBody):
        yield (*space, body.checkpoint_id, body.task_id, body.task_path)
        for write in body.writes:
            yield (*space, write.channel)
        return
    yield (*space, body.parent_id or "", body.run_id or "")
    for blob in body.blobs:
        yield (*space, blob.channel, blob.version)
    yield from ((*space, *version) for version in body.versions.items())
