"""Events about commands and parked keys: rejections, repetitions, releases of what was parked."""

from __future__ import annotations

from typing import ClassVar

from .base import ASSISTANT_EVENTS, CRON_EVENTS, DEAD_LETTERS, RUN_EVENTS, STORE_EVENTS, Event


class CommandRejected(Event, kw_only=True, frozen=True):
    """The command changed nothing. The client is answered with ``status`` and ``detail``."""

    TYPE: ClassVar[str] = "command.rejected.v1"
    aggregate_id: str
    status: int
    detail: str
    blob_id: str | None = None
    """Id of the body of which the command brought a piece: it will never be complete."""

    @property
    def key(self) -> str:
        return self.aggregate_id


class CommandRepeated(Event, kw_only=True, frozen=True):
    """A command was repeated; the outcome of the first one is valid. It is in the topic of that outcome, so that it is read after it."""

    TYPE: ClassVar[str] = "command.repeated.v1"
    TOPICS: ClassVar[tuple[str, ...]] = (RUN_EVENTS, ASSISTANT_EVENTS, CRON_EVENTS, STORE_EVENTS)
    aggregate_id: str
    command_id: str
    topic: str = RUN_EVENTS

    @property
    def key(self) -> str:
        return self.aggregate_id


class ParkedReleased(Event, kw_only=True, frozen=True):
    """The outcome of a key's parked commands, after `commands.ReleaseParked` or the deletion of their thread.

    It is in the partition of the key's other events. Commands are named by origin: ``<topic>-<partition>-<offset>``.
    """

    TYPE: ClassVar[str] = "parked.released.v1"
    aggregate_id: str
    decided: list[str] = []
    dropped: list[str] = []
    removed: list[str] = []
    """Parked commands that were removed because their thread was deleted while they waited."""
    left: int = 0
    """Number of commands that are still parked. The first of them cannot be decided."""

    @property
    def key(self) -> str:
        return self.aggregate_id


class ParkedEventsReleased(Event, kw_only=True, frozen=True):
    """An operator releases a key: its parked events are folded, in order. ``drop``: the origin of an event to discard permanently."""

    TYPE: ClassVar[str] = "parked.events_released.v1"
    TOPIC: ClassVar[str] = DEAD_LETTERS
    aggregate_id: str
    drop: str | None = None

    @property
    def key(self) -> str:
        return self.aggregate_id
