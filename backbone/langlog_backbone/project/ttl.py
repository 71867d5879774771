"""Time to live of threads and store items: ``checkpointer.ttl`` and ``store.ttl`` of langgraph.json (wire contract §16)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from langlog_schemas.commands import TTL_MAX_MINUTES, Ttl
from msgspec import Meta

from ..process.service import StartError
from .config import Configuration

T = TypeVar("T")
Minutes = Annotated[float, Meta(ge=0, le=TTL_MAX_MINUTES)]
Interval = Annotated[float, Meta(gt=0, le=10_000_000)]


class ThreadTtl(msgspec.Struct, frozen=True):
    """Time to live of threads, in minutes. ``default_ttl``: for threads without their own."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    default_ttl: Minutes | None = None
    sweep_interval_minutes: Interval = 5.0
    sweep_limit: Annotated[int, Meta(ge=1)] = 1000

    @property
    def default(self) -> Ttl | None:
        return None if self.default_ttl is None else Ttl(self.default_ttl, self.strategy)


class StoreTtl(msgspec.Struct, frozen=True):
    default_ttl: Minutes | None = None
    refresh_on_read: bool = True
    sweep_interval_minutes: Interval = 5.0


def thread_ttl(configuration: Configuration) -> ThreadTtl:
    """Return the section ``checkpointer.ttl``. Raises StartError if it is invalid."""
    return _read(configuration, "checkpointer", ThreadTtl)


def store_ttl(configuration: Configuration) -> StoreTtl:
    """Return the section ``store.ttl``. Raises StartError if it is invalid."""
    return _read(configuration, "store", StoreTtl)


def _read(configuration: Configuration, section: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(configuration.section(section).get("ttl") or {}, kind)
    except msgspec.ValidationError as error:
        raise StartError(f"{section}.ttl: {error}") from None
