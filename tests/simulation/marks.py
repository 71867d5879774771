"""Marks that worlds must reach, so that they are known to be tried: a mark that a night's worlds never reach fails the night.

Marks cost the product nothing. Most are what langlog logs anyway (the names of its log events); ``world.…`` are those of the stand-ins.
"""

from __future__ import annotations

from collections.abc import Mapping

SOMETIMES = (
    "decider.decided_by_another",
    "decider.read_model_went_back",
    "decider.revoked",
    "decider.waits_for_projector",
    "frames.lost",
    "lease.lost",
    "lease.wiped",
    "postgres.lost_commits",
    "projector.gave_up",
    "projector.positions_moved",
    "projector.positions_went_back",
    "run.left_behind",
    "scheduler.dispatches_lost",
    "scheduler.leases_lost",
    "worker_log.waiting_for_log",
    "world.commits_lost",
    "world.process_ended",
    "world.reconnected",
    "world.refused",
    "world.repeated_events",
    "world.unknown_outcome",
)


def unreached(reached: Mapping[str, int]) -> list[str]:
    return [mark for mark in SOMETIMES if not reached.get(mark)]
