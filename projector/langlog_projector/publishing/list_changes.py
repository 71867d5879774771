"""The changes of one batch to objects as lists show them, collected for the gateways' feeds of list changes. Pure; one per batch.

Messages of a partition follow on each other by their positions, so that a gateway notices when one was lost
(`langlog_schemas.messages.ListChanges`); a batch that changes nothing in a list is a message too.
"""

from __future__ import annotations

from collections.abc import Mapping

from langlog_backbone.log import TopicPartition
from langlog_schemas import events as ev
from langlog_schemas.messages import ListChanges

from ..apply import Step

METADATA_BYTES_MAX = 256_000
"""Maximum bytes of removed threads' metadata in one message; further threads are listed without it."""


class ListGathering:
    def __init__(self) -> None:
        self.removed_threads: dict[str, str | None] = {}
        self._threads: dict[str, bool] = {}
        """Thread -> whether a client has changed its metadata."""
        self._runs: dict[str, str] = {}
        self._removed_runs: dict[str, str] = {}
        self._assistants: dict[str, None] = {}
        self._removed_assistants: dict[str, None] = {}
        self._crons: dict[str, None] = {}
        self._removed_crons: dict[str, None] = {}

    def note(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.RunEnded() if event.deletes_thread:
                self._forget(event.thread_id)
            case ev.ThreadDeleted():
                self._forget(event.thread_id)
            case ev.ThreadUpdated():
                self._threads[event.thread_id] = True
            case ev.ThreadCreated() | ev.StateUpdated():
                self._threads.setdefault(event.thread_id, False)
            case ev.RunDeleted() | ev.RunRolledBack():
                self._threads.setdefault(event.thread_id, False)
                self._runs.pop(event.run_id, None)
                self._removed_runs[event.run_id] = event.thread_id
            case ev.RunStarted() | ev.RunCancelRequested():
                self._runs[event.run_id] = event.thread_id
            case ev.RunCreated() | ev.RunDispatched() | ev.RunEnded():
                self._threads.setdefault(event.thread_id, False)
                self._runs[event.run_id] = event.thread_id
            case ev.AssistantCreated() | ev.AssistantVersioned() | ev.AssistantLatestSet():
                self._removed_assistants.pop(event.assistant_id, None)
                self._assistants[event.assistant_id] = None
            case ev.AssistantDeleted():
                self._assistants.pop(event.assistant_id, None)
                self._removed_assistants[event.assistant_id] = None
            case ev.CronCreated() | ev.CronChanged() | ev.CronAdvanced():
                self._removed_crons.pop(event.cron_id, None)
                self._crons[event.cron_id] = None
            case ev.CronDeleted():
                self._crons.pop(event.cron_id, None)
                self._removed_crons[event.cron_id] = None
            case _:
                pass

    def _forget(self, thread_id: str) -> None:
        self._threads.pop(thread_id, None)
        for run_id in [run for run, thread in self._runs.items() if thread == thread_id]:
            del self._runs[run_id]

    def message(self, steps: Mapping[TopicPartition, Step]) -> ListChanges | None:
        """Return the message, or None if the batch has no topic that lists are derived from."""
        moved = [(t, part, step.before, step.after) for (t, part), step in steps.items() if t in ev.LISTED_TOPICS]
        if not moved:
            return None
        removed: dict[str, str | None] = {}
        room = METADATA_BYTES_MAX
        for thread_id, metadata in self.removed_threads.items():
            room -= len(metadata or "")
            removed[thread_id] = metadata if room >= 0 else None
        return ListChanges(
            steps=moved,
            threads=list(self._threads),
            relabelled=[id for id, relabelled in self._threads.items() if relabelled],
            runs=list(self._runs),
            assistants=list(self._assistants),
            crons=list(self._crons),
            removed_threads=removed,
            removed_runs=[(run, t) for run, t in self._removed_runs.items() if t not in removed],
            removed_assistants=list(self._removed_assistants),
            removed_crons=list(self._removed_crons),
        )
