"""Registration of a worker's graphs at start: `graph.registered` events, and the default assistant of each (wire contract §2).

Every worker appends them; ids are derived from the content, so a repetition changes nothing. Runs once on the I/O loop,
before the first claim.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog
from langlog_backbone.log import NewRecord
from langlog_backbone.log.records import command_record, event_record
from langlog_backbone.process.retry import Availability, until_available
from langlog_backbone.time.clock import iso, now_iso
from langlog_schemas import commands, events
from langlog_schemas.ids import default_assistant_id

from ..graph_host.questions import GraphFailed, QuestionRefused, query
from ..graphs.drawings import drawings
from ..graphs.loading import Graphs
from ..graphs.schemas import MEMBERS, schemas_of, subgraph_schemas

if TYPE_CHECKING:
    from langlog_backbone.context import Backbone
    from langlog_backbone.project.config import GraphSpec

    from ..graph_host.hosts import GraphHosts
    from ..runtime.graph_loops import GraphLoops

logger = structlog.get_logger(__name__)

SOURCE = "/langlog/worker"
DESCRIPTION_BYTES_MAX = 1_000_000
"""Maximum size of a registration, in bytes; a larger one omits drawings and subgraphs: gateways then query a worker each time."""


async def announce(
    backbone: Backbone, graphs: Graphs, loops: GraphLoops | None = None, host: GraphHosts | None = None
) -> None:
    """Append registrations and default assistants; waits as long as the log is unavailable.

    ``loops``: where factories make their graphs, if those use what belongs to the loop of the graphs. ``host``: of graphs in
    JavaScript.
    """
    now = datetime.fromisoformat(now_iso())
    records: list[NewRecord] = []
    for spec in graphs.specs.values():
        # a microsecond apart: assistants are listed by the time they were made, so in the project's order
        time = iso(now + timedelta(microseconds=spec.position))
        describe = partial(_described, graphs, spec)
        if host is not None and spec.graph_id in host.graph_ids:
            described = await _described_by(host, spec)
        else:
            described = await (describe() if loops is None else loops.submit(spec.graph_id, describe).done)
        records.append(_registration(described, time))
        command = commands.CreateAssistant(
            assistant_id=default_assistant_id(spec.graph_id),
            graph_id=spec.graph_id,
            name=spec.graph_id,
            description=spec.description,
            config=spec.config,
            context=spec.context,
            metadata={"created_by": "system"},
            if_exists="update" if spec.config else "do_nothing",
        )
        # other defaults are another command; with none, what clients have changed stays
        defaults = msgspec.json.encode([spec.config, spec.context], order="sorted") if spec.config else b""
        suffix = f"-{hashlib.blake2b(defaults, digest_size=12).hexdigest()}" if defaults else ""
        records.append(
            command_record(command, id=f"default-assistant-{command.assistant_id}{suffix}", source=SOURCE, time=time)
        )
    await until_available(lambda: backbone.log.append(records), on=Availability("worker.announcement", "log"))


async def _described(graphs: Graphs, spec: GraphSpec) -> events.GraphRegistered:
    """Return the registration of a graph, which gateways show without loading it."""
    plain = events.GraphRegistered(
        graph_id=spec.graph_id,
        position=spec.position,
        description=spec.description,
        schemas=await schemas_of(graphs, spec.graph_id),
        static=graphs.is_static(spec.graph_id),
    )
    try:
        async with graphs.open(spec.graph_id, access_context="assistants.read") as graph:
            full = msgspec.structs.replace(
                plain, drawings=await drawings(graph), subgraphs=await subgraph_schemas(graph, recurse=True)
            )
        return full if len(events.encode(full)) <= DESCRIPTION_BYTES_MAX else plain
    except (
        Exception
    ):  # a factory that fails without a config, or a graph that cannot be drawn: the request for it reports the error
        logger.warning("graph.no_drawing", graph_id=spec.graph_id, exc_info=True)
        return plain


async def _described_by(host: GraphHosts, spec: GraphSpec) -> events.GraphRegistered:
    """The same of a graph in JavaScript."""
    body = {"graph_id": spec.graph_id, "config": {"configurable": {}}}
    plain = events.GraphRegistered(
        graph_id=spec.graph_id,
        position=spec.position,
        description=spec.description,
        schemas=dict.fromkeys(MEMBERS),
        static=host.is_static(spec.graph_id),
    )
    try:
        answer = await query(host, "describe", body, None, None)
    except (GraphFailed, QuestionRefused) as error:  # a function that fails without a config
        logger.warning("graph.no_drawing", graph_id=spec.graph_id, error=str(error))
        return plain
    plain = msgspec.structs.replace(plain, schemas=msgspec.json.decode(answer["schemas"]))
    if answer["drawings"] is None:
        return plain
    drawn, inner = msgspec.json.decode(answer["drawings"]), msgspec.json.decode(answer["subgraphs"])
    full = msgspec.structs.replace(plain, drawings=drawn, subgraphs=inner)
    return full if len(events.encode(full)) <= DESCRIPTION_BYTES_MAX else plain


def _registration(event: events.GraphRegistered, time: str) -> NewRecord:
    value = events.encode(event)
    digest = hashlib.blake2b(value, digest_size=12).hexdigest()
    return event_record(event, id=f"graph-{event.graph_id}-{digest}", source=SOURCE, time=time, body=value)
