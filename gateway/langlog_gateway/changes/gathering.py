"""Objects that have changed since the last message: ids by kind, from the projector's messages. Pure."""

from __future__ import annotations

from typing import Literal, get_args

from langlog_schemas.messages import ListChanges

Kind = Literal["threads", "runs", "assistants", "crons"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CHANGES_MAX = 200
"""Maximum number of objects of one kind in a message; beyond it, the kind is stale: reading the list anew costs less than
each of them."""


class Gathering:
    """Collected changes, until they are taken."""

    def __init__(self) -> None:
        self.changed: dict[Kind, dict[str, None]] = {kind: {} for kind in KINDS}
        self.relabelled: set[str] = set()
        """Changed threads whose metadata a client has changed."""
        self.removed_threads: dict[str, str | None] = {}
        """Deleted thread -> its last metadata (JSON); None: unknown."""
        self.removed_runs: dict[str, str] = {}
        """Deleted run -> its thread, which still exists."""
        self.removed: dict[Kind, dict[str, None]] = {"assistants": {}, "crons": {}}
        self.stale: set[Kind] = set()

    def __bool__(self) -> bool:
        return (
            bool(self.stale or self.removed_threads or self.removed_runs)
            or any(self.changed.values())
            or any(self.removed.values())
        )

    def add(self, message: ListChanges) -> None:
        """Add a message that is later than all collected ones."""
        for thread_id, metadata in message.removed_threads.items():
            self.changed["threads"].pop(thread_id, None)
            self.removed_threads[thread_id] = metadata
        for run_id, thread_id in message.removed_runs:
            self.changed["runs"].pop(run_id, None)
            self.removed_runs[run_id] = thread_id
        self.relabelled.update(message.relabelled)
        self.changed["threads"].update(dict.fromkeys(message.threads))
        self.changed["runs"].update(dict.fromkeys(message.runs))
        self._replace("assistants", message.removed_assistants, message.assistants)
        self._replace("crons", message.removed_crons, message.crons)
        self._bound()

    def _replace(self, kind: Kind, removed: list[str], changed: list[str]) -> None:
        for id in removed:
            self.changed[kind].pop(id, None)
            self.removed[kind][id] = None
        for id in changed:
            self.removed[kind].pop(id, None)
            self.changed[kind][id] = None

    def add_all(self, other: Gathering) -> None:
        """Add earlier changes that could not be sent; those already collected are newer."""
        for kind in KINDS:
            self.changed[kind] = {**other.changed[kind], **self.changed[kind]}
        self.relabelled |= other.relabelled
        self.removed_threads = {**other.removed_threads, **self.removed_threads}
        self.removed_runs = {**other.removed_runs, **self.removed_runs}
        for kind, ids in other.removed.items():
            self.removed[kind] = {**ids, **self.removed[kind]}
        self.stale |= other.stale
        self._bound()

    def _bound(self) -> None:
        """Drop more changes than a message may hold, and mark their kind as stale."""
        gone: dict[Kind, int] = {
            "threads": len(self.removed_threads),
            "runs": len(self.removed_runs),
            "assistants": len(self.removed["assistants"]),
            "crons": len(self.removed["crons"]),
        }
        for kind in KINDS:
            if kind not in self.stale and len(self.changed[kind]) + gone[kind] <= CHANGES_MAX:
                continue
            self.stale.add(kind)
            self.changed[kind].clear()
            if kind == "threads":
                self.removed_threads.clear()
                self.relabelled.clear()
            elif kind == "runs":
                self.removed_runs.clear()
            else:
                self.removed[kind].clear()
