"""The members of an encoded thread state that a thread in the read model holds as well."""

from __future__ import annotations

import msgspec
from msgspec import Raw


class Task(msgspec.Struct):
    id: str
    interrupts: list[Raw] = []


class StateSummary(msgspec.Struct):
    """Values, next nodes and tasks of a state that a worker has encoded; its other members are not decoded."""

    values: Raw = Raw(b"null")
    next: list[str] = []
    tasks: list[Task] = []

    @staticmethod
    def decode(encoded: bytes) -> StateSummary:
        """Return the members. Raises msgspec.DecodeError."""
        return _state.decode(encoded)

    def interrupts(self) -> Raw:
        """Return a JSON object of the open interrupts by the id of their task, as `UpdateState.interrupts` has them."""
        return Raw(msgspec.json.encode({task.id: task.interrupts for task in self.tasks if task.interrupts}))


_state = msgspec.json.Decoder(StateSummary)
