"""The server that objects are imported into: ``/operator/import`` (docs/reference/operator-api.md)."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .http import JsonServer, Refused, Unanswered

T = TypeVar("T")


class HeldThread(msgspec.Struct):
    updated_at: str
    runs: int = 0
    checkpoints: list[str] = []


class HeldAssistant(msgspec.Struct):
    versions: list[int]
    latest: int


class HeldCron(msgspec.Struct):
    updated_at: str
    enabled: bool


class Held(msgspec.Struct):
    """Requested objects that the target has."""

    graphs: list[str]
    threads: dict[str, HeldThread] = {}
    assistants: dict[str, HeldAssistant] = {}
    crons: dict[str, HeldCron] = {}


class Outcome(msgspec.Struct):
    """Outcome of importing one object."""

    outcome: str
    detail: str | None = None
    notes: list[str] = []


class Target:
    """The target. ``source``, ``read_at``: provenance of all written objects."""

    def __init__(self, server: JsonServer, source: str, read_at: str) -> None:
        self._server = server
        self._provenance = {"source": source, "read_at": read_at}

    async def held(self, **ids: list[str]) -> Held:
        """Return the objects that the target has. Raises Unanswered."""
        try:
            answer = await self._server.call("POST", "/operator/import/held", ids)
        except Refused as error:  # of the target: nothing can be imported
            raise Unanswered(str(error)) from None
        return self._of(answer, Held)

    async def take(self, kind: str, objects: list[dict[str, Any]]) -> list[Outcome]:
        """Import objects of one kind. Raises Unanswered."""
        answer = await self._server.call("POST", "/operator/import", {**self._provenance, kind: objects})
        outcomes = self._of(answer, dict[str, list[Outcome]]).get(kind, [])
        if len(outcomes) != len(objects):
            raise Unanswered(f"{self._server.url} is no langlog server of this version: it answers with other outcomes")
        return outcomes

    def _of(self, answer: Any, kind: type[T]) -> T:
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise Unanswered(f"{self._server.url} is no langlog server of this version: {error}") from None
