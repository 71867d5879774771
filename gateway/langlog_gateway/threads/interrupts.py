"""``/interrupts``: interrupts that wait for a human's answer on any thread (langlog's own)."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web
from langlog_backbone.postgres.database import load_sql
from langlog_schemas.aggregates.thread import NO_INTERRUPTED_RUN

from ..auth.sight import Sight, sight_of
from ..auth.visibility import Parameters
from ..core import Core, encoded_response, page_headers
from ..http.errors import not_found, unprocessable
from ..http.validation import metadata_filter, read_body, uuid_of
from ..requests.interrupts import INTERRUPT_COUNT, INTERRUPT_SEARCH, INTERRUPTS_RESPOND, InterruptCount
from ..responses.interrupts import Answered, interrupt
from ..runs.bulk import readable_threads, submit_all
from ..runs.continued_runs import earlier_of, following
from ..runs.submission import SQL as RUNS
from ..runs.submission import PreparedRun, RunSubmission

SQL = load_sql("langlog_gateway", "interrupts.sql")


class Interrupts:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._submission = RunSubmission(core)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/interrupts/search", self.search),
            web.post("/interrupts/count", self.count),
            web.post("/interrupts/respond", self.respond),
        ]

    async def search(self, request: web.Request) -> web.Response:
        """Returns open interrupts of all threads, the oldest first.

        An interrupt is open while its thread has the status `interrupted`: once an answer has been accepted, it is not. The
        response header `x-pagination-next` is the offset of the next page, if there is one.
        """
        body = await read_body(request, INTERRUPT_SEARCH)
        sight = await self._sight(request, body, limit=body.limit, offset=body.offset)
        parameters = Parameters()
        sql = SQL["search"].format(
            visible=_conditions(body, sight, parameters),
            direction="DESC" if body.sort_order == "desc" else "ASC",
            limit=parameters.add(body.limit + 1, "::bigint"),
            offset=parameters.add(body.offset, "::bigint"),
        )
        rows = await self._core.reads.rows(sql, *parameters.values)
        page = [interrupt(row) for row in rows[: body.limit]]
        return encoded_response(page, headers=page_headers(body.offset, body.limit, len(rows)))

    async def count(self, request: web.Request) -> web.Response:
        """Returns the number of open interrupts of all threads."""
        body = await read_body(request, INTERRUPT_COUNT)
        sight = await self._sight(request, body)
        parameters = Parameters()
        sql = SQL["count"].format(visible=_conditions(body, sight, parameters))
        return encoded_response(int(await self._core.reads.value(sql, *parameters.values)))

    async def respond(self, request: web.Request) -> web.Response:
        """Answers open interrupts of any threads. Answers to one thread become one run, which resumes it with all of them.

        Each thread is decided by itself: its answers are accepted together if all these interrupts are open and none is being
        answered, else refused together, and of several answers to an interrupt one wins. The response has the outcomes in the
        order of the request: `created` with the `run_id`, or `refused` with the status `code` and the `detail` that a single
        request would have been refused with. The run streams as the one that was interrupted. The caller who answered is the
        `actor` of the event `run.created` in the log.
        """
        body = await read_body(request, INTERRUPTS_RESPOND)
        by_thread: dict[str, dict[str, Any]] = {}
        for answer in body.answers:
            answer.thread_id = uuid_of(answer.thread_id, "thread")
            answers = by_thread.setdefault(answer.thread_id, {})
            if answer.interrupt_id in answers:
                raise unprocessable(f"answers has two entries for interrupt {answer.interrupt_id[:200]!r}. Send one")
            answers[answer.interrupt_id] = answer.response
        readable = await readable_threads(self._core, request, list(by_thread))
        rows = {row["thread_id"]: row for row in await self._core.reads.rows(RUNS["last_of"], list(readable))}
        wanted = [
            partial(self._answering, request, rows.get(thread_id), thread_id, answers, n)
            for n, (thread_id, answers) in enumerate(by_thread.items())
        ]
        outcomes = dict(zip(by_thread, await submit_all(self._submission, request, wanted), strict=True))
        return encoded_response(
            [Answered(a.thread_id, a.interrupt_id, **outcomes[a.thread_id].members()) for a in body.answers]
        )

    async def _answering(
        self, request: web.Request, row: Any, thread_id: str, answers: dict[str, Any], number: int
    ) -> PreparedRun:
        if row is None or row["assistant_id"] is None:  # not there for the caller, or it has never run
            raise not_found(NO_INTERRUPTED_RUN)
        run, particulars = following(
            earlier_of(row["kwargs"]),
            thread_id,
            row["assistant_id"],
            row["config"],
            number,
            command={"resume": answers},
        )
        return await self._submission.prepare(request, run, thread_id, particulars._replace(answers=tuple(answers)))

    async def _sight(self, request: web.Request, body: InterruptCount, **page: int) -> Sight:
        """Return what the caller sees, after checking the ids in the body. Raises ApiError."""
        if body.thread_id is not None:
            body.thread_id = uuid_of(body.thread_id, "thread")
        if body.assistant_id is not None:
            body.assistant_id = uuid_of(body.assistant_id, "assistant")
        return await sight_of(request, "threads", {"values": {}, "status": "interrupted", **page})


def _conditions(body: InterruptCount, sight: Sight, parameters: Parameters) -> str:
    filters = sight.conditions(parameters, "t.metadata")
    if body.thread_id is not None:
        filters.append(f"t.thread_id = {parameters.add(body.thread_id)}")
    named = {"assistant_id": body.assistant_id, "graph_id": body.graph_id}
    wanted = {**body.metadata, **{name: value for name, value in named.items() if value is not None}}
    if wanted:
        filters.append(f"t.metadata @> {parameters.add(metadata_filter(wanted), '::jsonb')}")
    return " AND ".join(filters) or "TRUE"
