"""One reader of the feed: its sights, and the messages that wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from ..auth.sight import Sight
from ..streams.waker import Waker
from .gathering import Kind

WAITING_BYTES_MAX = 4_000_000
"""Maximum size of messages that wait for a reader, in bytes, the first not counted; beyond it, all are dropped and its
lists are stale."""


class Reader(Waker):
    def __init__(self, sights: Mapping[Kind, Sight]) -> None:
        super().__init__()
        self.sights: dict[Kind, Sight] = dict(sights)
        self.begun = False
        """Whether messages are queued: earlier changes are part of the first message."""
        self.owed: set[Kind] = set()
        """Stale lists that are still to be reported."""
        self.stale_at: dict[Kind, float] = {}
        """Time at which a list was last reported as stale, by the loop's clock."""
        self.closing = False
        """The server is going down."""
        self.on_overrun: Callable[[], object] | None = None
        self._waiting: deque[bytes] = deque()
        self._bytes = 0

    @property
    def ready(self) -> bool:
        """Whether there is a message to send, or the stream ends."""
        return bool(self._waiting) or self.closing

    def begin(self, first: bytes) -> None:
        """Put the first message before those that were queued meanwhile."""
        self._waiting.appendleft(first)

    def put(self, data: bytes) -> None:
        if self._waiting and self._bytes + len(data) > WAITING_BYTES_MAX:
            self._waiting.clear()
            self._bytes = 0
            self.owed.update(self.sights)
            if self.on_overrun is not None:
                self.on_overrun()
            return
        self._waiting.append(data)
        self._bytes += len(data)
        self.wake()

    def take(self) -> bytes:
        """Remove and return the waiting messages."""
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return taken
