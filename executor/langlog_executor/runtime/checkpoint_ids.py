"""Makes langgraph's checkpoint ids grow along a thread, whatever the clocks of the workers show (a hybrid logical clock).

langgraph makes ids as UUIDv6 of the process's clock, each larger than the process's last one. A worker that reads a thread
gives
langgraph the greatest id of it, so that ids made after that are larger, also where another worker's clock is ahead. Clients
that
sort ids themselves see the order of the log. The server itself does not depend on it: it orders checkpoints by log position.

Concurrency: called from any thread; two threads at once may at worst lose one step forward.
"""

from __future__ import annotations

import uuid

from langgraph.checkpoint.base import id as langgraph_ids
from langlog_backbone.time.sources import machine_time_ns

LAST = "_last_v6_timestamp"
"""Name of langgraph's variable with the time of the last id that it made."""
LONGEST_LEAD_S = 400 * 86_400
"""Maximum seconds by which ids may be ahead of this machine's clock to be followed: others were made by hand, not by a clock."""

_EPOCH = 0x01B21DD213814000
"""Number of 100 ns intervals between the epochs of UUIDs (1582-10-15) and of Unix."""


def issue_ids_after(checkpoint_id: str) -> None:
    """Make later checkpoint ids of this process larger than this one. Ids that are no UUIDv6 are ignored."""
    try:
        uuid6 = langgraph_ids.UUID(checkpoint_id)
    except ValueError:
        return
    if uuid6.version != 6 or uuid6.variant != uuid.RFC_4122:
        return
    now = machine_time_ns() // 100 + _EPOCH
    if now < uuid6.time <= now + LONGEST_LEAD_S * 10_000_000:
        clock = vars(langgraph_ids)  # langgraph has no function for it
        clock[LAST] = max(clock[LAST] or 0, uuid6.time)
