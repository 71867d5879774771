"""Sources of an import: the port of `api_source` and `postgres_source`, and the temporary file of a thread's history."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from .http import Unanswered

Row = dict[str, Any]


class TooLarge(Exception):
    """A history is larger than an import accepts."""


class ThreadHead(msgspec.Struct):
    """A thread as a list shows it."""

    id: str
    """Id at the target: a UUID."""
    updated_at: str | None = None
    original_id: str | None = None
    """Id at the source, if it is not a UUID."""
    created_at: str | None = None
    graph_id: str | None = None


class Thread(msgspec.Struct):
    """A thread without its history. ``body``: members of the API's ``ImportedThread``."""

    body: Row
    graph_id: str | None = None
    busy: bool = False
    """Whether runs are in flight."""


class Checkpoint(msgspec.Struct):
    """Position of one checkpoint in the file. ``light``: JSON of the data that its children need; for rows, names of its values."""

    id: str
    parent_id: str | None
    start: int
    size: int
    light: bytes


class History:
    """The checkpoints of one thread, parents first, in a file that is deleted when it is closed. Not safe for concurrent use."""

    def __init__(self, kind: Literal["history", "rows"], bytes_max: int) -> None:
        self.kind = kind
        self.checkpoints: list[Checkpoint] = []
        self.notes: list[str] = []
        """Parts that the source does not show."""
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise _no_room(error) from None
        self._size, self._most = 0, bytes_max
        self._sent: set[tuple[str, ...]] = set()
        """For rows: values that were sent with an earlier checkpoint."""

    def add(self, id: str, parent_id: str | None, body: Row, light: Any) -> None:
        """Add a checkpoint. Raises TooLarge, Unanswered if the file cannot be written."""
        data = msgspec.json.encode(body)
        if self._size + len(data) > self._most:
            raise TooLarge(f"its history is larger than {self._most:,} bytes")
        try:
            self._file.seek(self._size)
            self._file.write(data)
            self._file.flush()  # a full disk is found here, not when it is read
        except OSError as error:
            raise _no_room(error) from None
        self.checkpoints.append(Checkpoint(id, parent_id, self._size, len(data), msgspec.json.encode(light)))
        self._size += len(data)

    def reverse(self) -> None:
        """Reverse the order from newest first to oldest first."""
        self.checkpoints.reverse()

    def insert(self, checkpoints: Sequence[Checkpoint]) -> None:
        self.checkpoints.extend(checkpoints)

    def body(self, checkpoint: Checkpoint) -> bytes:
        """Return the bytes to send: for rows without values that were sent with an earlier one. Call it, or `skip`, in order."""
        self._file.seek(checkpoint.start)
        data = self._file.read(checkpoint.size)
        if self.kind == "history":
            return data
        row = msgspec.json.decode(data)
        space = row["checkpoint_ns"]
        row["blobs"] = [b for b in row["blobs"] if (space, b["channel"], b["version"]) not in self._sent]
        self.skip(checkpoint)
        return msgspec.json.encode(row)

    def skip(self, checkpoint: Checkpoint) -> None:
        """Skip a checkpoint that the target has."""
        if self.kind == "rows":
            self._sent.update(tuple(value) for value in msgspec.json.decode(checkpoint.light))

    def parents(self) -> set[str]:
        return {one.parent_id for one in self.checkpoints if one.parent_id is not None}

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a full disk has not taken
            self._file.close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self.checkpoints)


def _no_room(error: OSError) -> Unanswered:
    return Unanswered(
        f"the history of a thread cannot be written to {tempfile.gettempdir()} ({error.strerror or error}): make room there, or name "
        "another folder in TMPDIR, then start the same import again: it goes on"
    )


class Source(Protocol):
    """A source. All methods raise `http.Unanswered` if the source can no longer be read, `http.Refused` for one object."""

    name: str
    """Address without credentials."""

    def assistants(self) -> AsyncIterator[list[Row]]: ...
    async def assistant(self, listed: Row) -> tuple[Row, list[str]]:
        """Return a listed assistant with its versions, and notes on parts that the source does not show."""
        ...

    def threads(self, metadata: Row) -> AsyncIterator[list[ThreadHead]]: ...
    async def count(self, metadata: Row) -> int | None: ...
    async def thread(self, head: ThreadHead) -> Thread: ...
    async def history(self, head: ThreadHead) -> History: ...
    def items(self) -> AsyncIterator[Row]: ...
    def crons(self) -> AsyncIterator[Row]: ...
