"""Values of a checkpoint in the log, as JSON, without the graph: for showing past states. Runs no code of the project but its
encryption handlers."""

from __future__ import annotations

from pathlib import Path

import msgspec
from langlog_backbone.process.environment import read_settings
from langlog_backbone.project.config import read_project

from ..checkpoints.serde import configured_serializer, unpack
from ..values import encoding
from .recorded import Recorded


def values_at(recorded: Recorded, checkpoint_id: str, project: Path) -> dict[str, msgspec.Raw]:
    """Return channel -> value of a root checkpoint. Channels that hold only differences (delta channels) are absent between
    two snapshots.

    ``project``: langgraph.json, for the types that it allows; it need not be there. Raises StartError.
    """
    read = read_project(project) if project.is_file() else None
    serde = configured_serializer(read, read_settings(project=project))
    blobs = recorded.stored(("", checkpoint_id)).blobs
    return {
        channel: msgspec.Raw(encoding.encode(unpack(serde, *blob)))
        for channel, blob in sorted(blobs.items())
        if not channel.startswith(("__", "branch:"))
    }
