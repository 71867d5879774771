"""The events that a subscriber of the streaming protocol selects (wire contract §9.2). Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from .events import Event

CHANNELS = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks")
"""Channels, in the order in which the contract's error names them."""
SILENT = ("checkpoints",)
NEEDED = "channels is required and must be a non-empty array"
MAX_NAMESPACES = 256
MAX_CHANNELS = 64


class BadFilter(ValueError):
    """An invalid filter; the message names the fault."""


class Filter(NamedTuple):
    """``namespaces`` None: all. ``depth``: levels below a namespace; without namespaces it means nothing."""

    channels: frozenset[str]
    namespaces: tuple[tuple[str, ...], ...] | None = None
    depth: int | None = None
    since: int | None = None

    def wants(self, event: Event) -> bool:
        channel = event.channel
        if channel not in self.channels and not (channel.startswith("custom:") and "custom" in self.channels):
            return False
        return self.namespaces is None or any(self._below(event.namespace, prefix) for prefix in self.namespaces)

    def _below(self, namespace: tuple[str, ...], prefix: tuple[str, ...]) -> bool:
        if len(prefix) > len(namespace) or (self.depth is not None and len(namespace) - len(prefix) > self.depth):
            return False
        return all(
            segment == wanted or (":" not in wanted and segment.partition(":")[0] == wanted)
            for segment, wanted in zip(namespace, prefix, strict=False)
        )


def read_filter(params: Any) -> Filter:
    """Return a client's filter. ``since``, ``depth`` and ``namespaces`` of the wrong type are ignored. Raises BadFilter."""
    members = params if isinstance(params, dict) else {}
    channels = members.get("channels")
    if not isinstance(channels, list) or not channels:
        raise BadFilter(NEEDED)
    if len(channels) > MAX_CHANNELS:
        raise BadFilter(f"channels has more than {MAX_CHANNELS} entries")
    unknown = [channel for channel in channels if not _known(channel)]
    if unknown:
        raise BadFilter(
            f"channels contains unsupported entries: {', '.join(str(channel)[:100] for channel in unknown)}. "
            f"Allowed: {', '.join(CHANNELS)}, or any `custom:<name>`."
        )
    return Filter(
        frozenset(channels),
        _namespaces(members.get("namespaces")),
        _count(members.get("depth")),
        _count(members.get("since")),
    )


def _known(channel: Any) -> bool:
    return isinstance(channel, str) and (
        channel in CHANNELS or channel in SILENT or (channel.startswith("custom:") and len(channel) > len("custom:"))
    )


def _namespaces(given: Any) -> tuple[tuple[str, ...], ...] | None:
    if not isinstance(given, list) or not given or len(given) > MAX_NAMESPACES:
        return None
    if not all(isinstance(one, list) and all(isinstance(segment, str) for segment in one) for one in given):
        return None
    return tuple(tuple(one) for one in given)


def _count(given: Any) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 0 else None
