"""Commands of operators."""

from __future__ import annotations

from typing import ClassVar

from .base import Body


class ReleaseParked(Body, kw_only=True, frozen=True):
    """Decide the parked commands of a key, in order, as if they came now. ``drop``: the origin of one to be left out."""

    TYPE: ClassVar[str] = "parked.release.v1"
    aggregate_id: str
    drop: str | None = None

    @property
    def key(self) -> str:
        return self.aggregate_id
