"""Questions about graphs on the host: each is a job, whose reads of checkpoints and of the store are answered as those of runs are.

Concurrency: on the I/O loop. A question whose caller is cancelled is dropped on the host.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from ..values.error_text import MESSAGE_LIMIT, NAME_LIMIT
from ..values.redaction import shown
from .protocol import Query

if TYPE_CHECKING:
    from .checkpoint_calls import CheckpointCalls
    from .hosts import GraphHosts
    from .store_calls import StoreCalls

logger = structlog.get_logger(__name__)


class QuestionRefused(Exception):
    """The query cannot be answered. ``status`` as in HTTP."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class GraphFailed(Exception):
    """Code of the graph has thrown: ``name`` of the thrown error, and its text."""

    for_clients = True

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


async def query(
    host: GraphHosts,
    kind: str,
    body: Mapping[str, Any],
    checkpoints: CheckpointCalls | None,
    store: StoreCalls | None,
) -> dict[str, Any]:
    """Return the host's answer. Raises QuestionRefused, GraphFailed, HostLost and GraphHostError."""

    def call(name: str, args: list[Any]) -> Awaitable[Any] | None:
        if name == "store" and store is not None:
            return store.call(*args)
        if checkpoints is not None and checkpoints.knows(name):
            return checkpoints.call(name, args)
        raise QuestionRefused(422, f"a query for {kind} of a graph reads no thread and no store")

    encoded = msgspec.json.encode(body)
    job = await host.job(lambda id: Query(id, kind, encoded), call, None, {"graph_id": str(body["graph_id"])})
    try:
        result = await job.done
    finally:
        job.drop()
    if checkpoints is not None:
        await checkpoints.settled()
    if job.fault is not None:
        raise job.fault
    match result:
        case {"answer": dict(answer)}:
            return answer
        case {"refused": {"status": int(status), "detail": str(detail)}}:
            raise QuestionRefused(status, detail)
        case {"error": dict(error)}:
            stack = error.get("stack")
            logger.warning("graph_host.question_failed", kind=kind, graph_id=body["graph_id"], traceback=stack)
            raise GraphFailed(str(error.get("error"))[:NAME_LIMIT], shown(str(error.get("message")), MESSAGE_LIMIT))
    raise GraphFailed("InternalError", "the graph host gave no answer")
