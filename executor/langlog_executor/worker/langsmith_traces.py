"""Runs in LangSmith, if its environment variables switch tracing on: project, example and parent of a run, and feedback URLs.

langchain-core traces by itself once ``LANGSMITH_TRACING`` and ``LANGSMITH_API_KEY`` are set. This module makes a run the child of its
caller's (headers ``langsmith-trace`` and ``baggage``), files it under the project of ``langsmith_tracer``, and requests the URLs of
``feedback_keys``. Without these variables nothing is imported.

Concurrency: `traced` is entered on a graph loop, around the attempt. langsmith sends on threads of its own, and traces that
cannot be sent are lost: a run waits for LangSmith only for the URLs that its caller requested. A worker that stops sends
queued traces (`flush`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from langlog_backbone.process import tracing

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

logger = structlog.get_logger(__name__)

T = TypeVar("T")

ERROR_CHARACTERS_MAX = 200
FEEDBACK_S = 10.0
"""Seconds for all URLs of one run."""
FLUSH_S = 5.0
"""Maximum seconds for sending queued traces when a worker stops."""


class FeedbackUnavailable(Exception):
    """There are no feedback URLs; the message is the class of the error."""


def enabled() -> bool:
    """Return whether runs of this process are traced to LangSmith."""
    return tracing.to_langsmith(os.environ)


@contextlib.contextmanager
def traced(configurable: Mapping[str, Any], tracer: Mapping[str, Any] | None) -> Iterator[list[BaseCallbackHandler]]:
    """Put a run into its caller's trace; yields the callbacks for the run. ``tracer``: ``langsmith_tracer``."""
    if not enabled():
        yield []
        return
    from langsmith.run_helpers import tracing_context
    from langsmith.run_trees import RunTree

    from .run_tracer import RunTracer

    tracer = tracer or {}
    project = tracer.get("project_name") or _of(str, configurable, "langsmith-project")
    callbacks: list[BaseCallbackHandler] = [RunTracer(project_name=project, example_id=tracer.get("example_id"))]
    parent: Any = None
    if order := _of(str, configurable, "langsmith-trace"):  # its children are filed where it is
        try:
            parent = RunTree.from_dotted_order(order, **({} if project is None else {"project_name": project}))
        except (
            ValueError
        ) as error:  # a client may put anything there, and a run is worth more than its place in a trace
            logger.warning("run.no_parent_trace", error=str(error)[:ERROR_CHARACTERS_MAX])
    tags = _of(list, configurable, "langsmith-tags")
    with tracing_context(
        parent=parent,
        project_name=project,
        metadata=_of(dict, configurable, "langsmith-metadata"),
        tags=None if tags is None else [tag for tag in tags if isinstance(tag, str)],
    ):
        yield callbacks


def _of(kind: type[T], configurable: Mapping[str, Any], name: str) -> T | None:
    """Return a member of the configurable, if it is of that type: headers are checked at the door, what a client names itself is not."""
    value = configurable.get(name)
    return value if isinstance(value, kind) else None


async def feedback_urls(run_id: str, keys: Sequence[str]) -> dict[str, str]:
    """Return a presigned URL of LangSmith for each key. Raises FeedbackUnavailable."""
    if not enabled():
        raise FeedbackUnavailable("LangSmithConnectionError")
    from langsmith.run_trees import get_cached_client

    def make() -> dict[str, str]:
        tokens = get_cached_client().create_presigned_feedback_tokens(run_id, keys)
        return {key: token.url for key, token in zip(keys, tokens, strict=False)}  # more with several endpoints

    try:
        return await asyncio.wait_for(asyncio.to_thread(make), FEEDBACK_S)
    except Exception as error:
        logger.warning("run.no_feedback_urls", run_id=run_id, error=f"{type(error).__name__}: {error}")
        name = type(error).__name__
        raise FeedbackUnavailable(name if name.startswith("LangSmith") else "LangSmithConnectionError") from error


async def flush() -> None:
    """Send queued traces within `FLUSH_S`, when a worker stops."""
    if not enabled():
        return
    from langchain_core.tracers.langchain import wait_for_all_tracers

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(wait_for_all_tracers), FLUSH_S)
