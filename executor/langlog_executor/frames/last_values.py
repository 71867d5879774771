"""The last values of a graph's state that an attempt has streamed, for the report of its end.

Channels of kind UntrackedValue are part of what a run streams and returns, and of nothing that its thread keeps: langgraph leaves
them out of checkpoints, so the thread's values are without them too.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

_members = msgspec.json.Decoder(dict[str, Raw])


class LastValues:
    """One per attempt, written on the graph's loop."""

    def __init__(self) -> None:
        self.streamed: bytes | None = None
        """The values as they were streamed, JSON; None: there were none."""
        self.untracked: frozenset[str] = frozenset()
        """Channels whose values langgraph does not store."""

    @property
    def kept(self) -> bytes | None:
        """Return the values that the thread keeps."""
        streamed, passing = self.streamed, self._passing()
        if streamed is None or not passing:
            return streamed
        return msgspec.json.encode({k: v for k, v in _members.decode(streamed).items() if k not in passing})

    def output(self, values: bytes | None) -> bytes | None:
        """Return the output of a run that ends with these values, where it differs from them; None: it does not."""
        passing = self._passing()
        if not passing or values is None or values[:1] != b"{":
            return None
        return msgspec.json.encode({**_members.decode(values), **passing})

    def _passing(self) -> dict[str, Raw]:
        """Return the members that pass away with the run."""
        if not self.untracked or self.streamed is None or self.streamed[:1] != b"{":
            return {}
        return {k: v for k, v in _members.decode(self.streamed).items() if k in self.untracked}


def untracked_channels(graph: Any) -> frozenset[str]:
    """Return the names of the channels of kind UntrackedValue; of a graph that is elsewhere, none."""
    from langgraph.channels.untracked_value import UntrackedValue

    channels = getattr(graph, "channels", None)
    if not isinstance(channels, dict):
        return frozenset()
    return frozenset(name for name, channel in channels.items() if isinstance(channel, UntrackedValue))
