"""Many runs by one request, each decided by itself: prepared ones are appended together, refused ones report the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from aiohttp import web
from langlog_schemas.rules.filters import Filter

from ..auth.access import authorize
from ..auth.visibility import seen
from ..core import Core
from ..http.errors import ApiError
from .submission import PreparedRun, RunSubmission


class Outcome(NamedTuple):
    """Outcome of one entry: the run that was created, or the reason why none was."""

    run_id: str | None = None
    code: int = 200
    detail: str = ""

    def members(self) -> dict[str, Any]:
        """Return the members that the API shows."""
        if self.run_id is not None:
            return {"status": "created", "run_id": self.run_id}
        return {"status": "refused", "code": self.code, "detail": self.detail}


Prepare = Callable[[], Awaitable[PreparedRun]]
"""Returns the run for one entry. Raises ApiError."""


async def submit_all(submission: RunSubmission, request: web.Request, wanted: Sequence[Prepare]) -> list[Outcome]:
    """Submit the runs; return the outcome of each, in order. Raises ApiError if none can be created: 429, 503, 504."""
    results: list[Outcome | PreparedRun] = []
    for prepare in wanted:
        try:
            results.append(await prepare())
        except ApiError as error:
            if error.status >= 500:
                raise
            results.append(Outcome(code=error.status, detail=error.detail))
    prepared = [one for one in results if isinstance(one, PreparedRun)]
    replies = iter(await submission.submit_each(request, prepared) if prepared else ())
    outcomes = []
    for one in results:
        if isinstance(one, PreparedRun):
            reply = next(replies)
            one = Outcome(one.run_id) if reply.status == 200 else Outcome(code=reply.status, detail=reply.detail or "")
        outcomes.append(one)
    return outcomes


async def readable_threads(core: Core, request: web.Request, thread_ids: Sequence[str]) -> set[str]:
    """Return those threads that the caller may read; a thread whose handler refuses is left out. Raises ApiError 503."""
    by_filter: dict[str, tuple[Filter | None, list[str]]] = {}
    for thread_id in thread_ids:
        try:
            visible = await authorize(request, "threads", "read", {"thread_id": thread_id})
        except ApiError as error:
            if error.status >= 500:
                raise
            continue
        by_filter.setdefault(repr(visible), (visible, []))[1].append(thread_id)
    readable: set[str] = set()
    for visible, ids in by_filter.values():
        readable |= await seen(core.reads, "threads", ids, visible)
    return readable
