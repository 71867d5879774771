"""What a projection notifies: of each event that it folds, and of each batch once it is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from langlog_backbone.log import Record, TopicPartition
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause

from .apply import Removed, Step

Refused = Sequence[tuple[Record, str]]
"""Records that cannot be folded, with what is wrong with them."""
PublishDeadLetter = Callable[[Refused], Awaitable[None]]
"""Does with records that cannot be folded whatever is to be done before the position goes past them. May raise LogUnavailable."""
Steps = Mapping[TopicPartition, Step]
"""How far each partition has moved."""


class Listener(Protocol):
    """Hears what a batch is made of. Nothing of it counts before `committed`."""

    def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None: ...

    def parked(self, key: str) -> None:
        """From here on no event of the key is folded."""
        ...

    def dropped(self) -> None:
        """The batch was not written: all of it will be folded again."""
        ...

    def removed(self, threads: Removed) -> None:
        """Threads that were in Postgres and are gone with the batch."""
        ...

    async def committed(self, steps: Steps) -> None: ...


class NoListener:
    """Implements `Listener` for folds that notify nobody."""

    def folded(self, record: Record, event: ev.AnyEvent, cause: Cause | None) -> None:
        """Nobody waits for it."""

    def parked(self, key: str) -> None:
        """Nobody decides by it."""

    def dropped(self) -> None:
        """Nothing was kept."""

    def removed(self, threads: Removed) -> None:
        """Does nothing."""

    async def committed(self, steps: Steps) -> None:
        """Nobody waits for it."""
