"""``POST /runs/retry``: runs failed runs again (langlog's own)."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web

from ..core import Core, encoded_response, origin_of
from ..http.backends import Origin
from ..http.errors import ApiError
from ..http.validation import read_body, uuid_of
from ..requests.runs import RUNS_RETRY
from ..responses.runs import Retried
from .bulk import readable_threads, submit_all
from .continued_runs import earlier_of, repeated
from .submission import SQL, PreparedRun, RunSubmission, new_run_id

NOT_THERE = "Run not found"
RETRIED = frozenset({"error", "timeout", "interrupted"})
NOT_FAILED = "The run has the status {}: only runs with the status error, timeout or interrupted can be retried"
NOT_LAST = (
    "Another run has come after this one on thread {}. Start a run from one of its checkpoints instead "
    "(GET /threads/{{thread_id}}/history)"
)


class Retries:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._submission = RunSubmission(core)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/runs/retry", self.retry)]

    async def retry(self, request: web.Request) -> web.Response:
        """Runs failed runs again: runs with the status `error`, `timeout` or `interrupted`, each the last one of its thread.

        A run that has written checkpoints continues from the last of them: completed nodes are not executed again. A run that
        has written none gets its input again. The new run is created for the caller, on the same thread, with the settings of the
        failed one; its metadata has `retry_of`, the id of that run. Each run is decided by itself, the response has the outcomes in
        the order of the request: `created` with the `run_id`, or `refused` with the status `code` and the `detail` that a single
        request would have been refused with.
        """
        body = await read_body(request, RUNS_RETRY)
        ids = list(dict.fromkeys(uuid_of(text, "run") for text in body.run_ids))
        rows = {row["run_id"]: row for row in await self._core.reads.rows(SQL["to_retry"], ids)}
        # handlers are called for runs that do not exist as well, so that a refusal does not reveal the difference
        threads = list(dict.fromkeys(rows[id]["thread_id"] if id in rows else id for id in ids))
        readable = await readable_threads(self._core, request, threads)
        made = await self._made_before(origin_of(request), len(ids))
        wanted = [
            partial(self._prepared, request, rows.get(id), readable, n, repeats=n in made) for n, id in enumerate(ids)
        ]
        outcomes = await submit_all(self._submission, request, wanted)
        by_id = dict(zip(ids, outcomes, strict=True))
        named = [uuid_of(text, "run") for text in body.run_ids]
        return encoded_response(
            [Retried(id, _thread_of(rows.get(id), readable), **by_id[id].members()) for id in named]
        )

    async def _made_before(self, origin: Origin, count: int) -> set[int]:
        """Return the numbers of the runs that an earlier request with the same key has created: they came after the failed ones."""
        if origin.key is None:
            return set()
        numbers = {new_run_id(origin, n): n for n in range(count)}
        return {numbers[row["run_id"]] for row in await self._core.reads.rows(SQL["existing"], list(numbers))}

    async def _prepared(
        self, request: web.Request, row: Any, readable: set[str], number: int, *, repeats: bool
    ) -> PreparedRun:
        if row is None or row["thread_id"] not in readable:
            raise ApiError(404, NOT_THERE)
        if row["status"] not in RETRIED:
            raise ApiError(409, NOT_FAILED.format(row["status"]))
        if not row["is_last"] and not repeats:
            raise ApiError(409, NOT_LAST.format(row["thread_id"]))
        run, particulars = repeated(earlier_of(row["kwargs"]), row, number, goes_on=row["has_checkpoints"])
        return await self._submission.prepare(request, run, row["thread_id"], particulars)


def _thread_of(row: Any, readable: set[str]) -> str | None:
    return None if row is None or row["thread_id"] not in readable else row["thread_id"]
