"""Callbacks of a projection: for each event that it folds, and for each batch once it is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from langlog_backbone.log import Record, TopicPartition
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause

from .apply import Removed, Step

Refused = Sequence[tuple[Record, str]]
"""Records that cannot be folded, each with its error."""
PublishDeadLetter = Callable[[Refused], Awaitable[None]]
"""Handles records that cannot be folded, before the position passes them. May raise LogUnavailable."""
Steps = Mapping[TopicPartition, Step]
"""Positions of each partition before and after a batch."""


class Listener(Protocol):
    """Receives the events of a batch. They are final only at `committed`."""

    def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None: ...

    def parked(self, key: str) -> None:
        """From now on no event of the key is folded."""
        ...

    def dropped(self) -> None:
        """The batch was not written: all of it will be folded again."""
        ...

    def removed(self, threads: Removed) -> None:
        """The batch removed these threads from Postgres."""
        ...

    async def committed(self, steps: Steps, *, empty: bool = False) -> None:
        """The batch was written. ``empty``: it changed nothing but the positions."""
        ...


class NoListener:
    """Implements `Listener` for folds without notifications."""

    def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None:
        """Does nothing."""

    def parked(self, key: str) -> None:
        """Does nothing."""

    def dropped(self) -> None:
        """Does nothing."""

    def removed(self, threads: Removed) -> None:
        """Does nothing."""

    async def committed(self, steps: Steps, *, empty: bool = False) -> None:
        """Does nothing."""
