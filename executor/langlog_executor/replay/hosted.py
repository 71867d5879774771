"""A past run of a graph in JavaScript, executed again: by a process of Node of its own, whose calls for checkpoints and the store go to the
sandbox.

Concurrency: on the event loop of the replay. Nothing of it outlives the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..graph_host.checkpoint_calls import CheckpointCalls
from ..worker.hosted_attempt import HostedAttempt
from ..worker.process import graph_hosts
from .sandbox import sandbox_reader

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langgraph.store.base import BaseStore
    from langlog_backbone.process.settings import Settings
    from langlog_backbone.project.config import Project
    from langlog_schemas.messages import Task

    from ..checkpoints.overlay import Overlay
    from ..graphs.run_input import Kwargs
    from ..worker.graph_attempt import Ended
    from .sandbox import ListeningSink


async def run_hosted(
    node: str,
    project: Project,
    settings: Settings,
    task: Task,
    kwargs: Kwargs,
    serde: SerializerProtocol,
    overlay: Overlay,
    records: ListeningSink,
    store: BaseStore,
) -> Ended:
    """Return the end of the attempt. ``project``: with the graph alone; ``overlay``: the past thread. Raises GraphHostError."""
    hosts = graph_hosts(Path(node), project, settings)
    reader = sandbox_reader(serde)
    try:
        await hosts.start()
        calls = CheckpointCalls(records, reader, task=replace(task, attempt=1, fresh=True), overlay=overlay)
        # not fresh for the host: the past thread's checkpoints are in the overlay, which only the calls know
        return await HostedAttempt(
            replace(task, fresh=False),
            kwargs,
            hosts,
            records,
            reader,
            store,
            settings,
            lambda name, data: None,
            checkpoints=calls,
        ).run()
    finally:
        await hosts.stop()
