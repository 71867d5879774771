"""Commands of the streaming protocol (wire contract §9.1): executed like the REST endpoints, with responses in the protocol's envelope.

Stateless: the state of a connection (its subscriptions, its run, its last number) is its `Session`. Over HTTP each command is
a session of its own, so that methods which need a connection return an error. Failures are responses too, with status 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog
from aiohttp import web
from langlog_backbone.time.sources import uuid4
from langlog_schemas.aggregates.thread import INTERRUPT_CONSUMED, NO_INTERRUPTED_RUN
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import EVENT_STREAMING, RunCreate

from ..auth.access import admit
from ..core import Core
from ..http.backends import UserCodeError
from ..http.errors import ApiError, missing_thread
from ..http.run_config import check_config, wrong_type
from ..http.validation import decode_body, uuid_of
from ..requests.runs import RUN_CREATE
from ..responses.agents import AppliedThrough, ProtocolAnswer
from ..runs.submission import Particulars, PreparedRun, RunSubmission
from .filter import BadFilter, Filter, read_filter
from .history import SQL

if TYPE_CHECKING:
    from langchain_protocol.protocol import ErrorCode

logger = structlog.get_logger(__name__)

BAD_ENVELOPE = "Protocol commands must include an integer id and string method."
NO_ACTIVE_RUN = "No active run is bound to this thread."
BROKEN = "An internal error occurred"
MODES = ["values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints"]
"""Stream modes in the kwargs of the protocol's runs (wire contract §9.1)."""
RUN_PARAMS = ("assistant_id", "input", "config", "metadata", "langsmith_tracer", "strict_resume")
HIDDEN = frozenset({EVENT_STREAMING, "thread_id"})
"""Members of the configurable that the protocol adds, and threads do not show."""
MAX_RESPONSES = 1_000


class Refused(Exception):
    """A command that gets an error response."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Session(Protocol):
    """State of a connection. All methods raise Refused."""

    @property
    def seq(self) -> int:
        """Number of the last event sent on the connection."""
        ...

    @property
    def head(self) -> int:
        """Number of the thread's last event known to the connection; 0: it follows no events."""
        ...

    def bind(self, run_id: str, graph_id: str, floor: int) -> None:
        """Bind the connection to a run that it started. ``floor``: `head` from before its command: the run's events have
        greater numbers."""
        ...

    async def subscribe(self, wanted: Filter) -> Object: ...

    async def unsubscribe(self, subscription_id: str) -> None: ...

    async def reconnect(self, params: Object) -> Object: ...

    async def tree(self) -> Object: ...


class NoSession:
    """The session of a command over HTTP."""

    seq = 0
    head = 0

    def bind(self, run_id: str, graph_id: str, floor: int) -> None:
        return None

    async def subscribe(self, wanted: Filter) -> Object:
        return {"subscription_id": uuid4(), "replayed_events": 0}

    async def unsubscribe(self, subscription_id: str) -> None:
        raise Refused("no_such_subscription", f"Unknown subscription: {subscription_id}")

    async def reconnect(self, params: Object) -> Object:
        raise Refused("no_such_run", NO_ACTIVE_RUN)

    async def tree(self) -> Object:
        raise Refused("no_such_run", NO_ACTIVE_RUN)


def error(id: Any, code: ErrorCode, message: str) -> bytes:
    return msgspec.json.encode(ProtocolAnswer("error", id, error=code, message=message))


class Envelope(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: Object


def read_envelope(body: object) -> Envelope | bytes:
    """Return the command, or the error response to an invalid one."""
    members = body if isinstance(body, dict) else {}
    id, method, params = members.get("id"), members.get("method"), members.get("params")
    if not isinstance(id, int) or isinstance(id, bool) or not isinstance(method, str):
        return error(id if isinstance(id, int | str) else None, "invalid_argument", BAD_ENVELOPE)
    return Envelope(id, method, params if isinstance(params, dict) else {})


class Commands:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._submission = RunSubmission(core)

    async def answer(self, request: web.Request, command: Envelope, session: Session) -> bytes:
        """Execute the command on the thread of the request's path. Never raises for what the client did."""
        try:
            result = await self._carry_out(request, command.method, command.params, session)
        except Refused as refused:
            return error(command.id, refused.code, refused.message)
        except BadFilter as bad:
            return error(command.id, "invalid_argument", str(bad))
        except ApiError as failed:
            return error(command.id, "unknown_error", f"{failed.status}: {failed.detail}")
        except UserCodeError as failed:
            logger.warning("gateway.user_code_failed", path=request.path, error=str(failed))
            return error(command.id, "unknown_error", BROKEN)
        return msgspec.json.encode(ProtocolAnswer("success", command.id, result, AppliedThrough(session.seq)))

    async def _carry_out(self, request: web.Request, method: str, params: Object, session: Session) -> Object:
        match method:
            case "run.start":
                floor = session.head
                run = await self._start(request, params)
                session.bind(run.run_id, run.command.graph_id, floor)
                return {"run_id": run.run_id}
            case "input.respond":
                floor = session.head
                run = await self._respond(request, params)
                session.bind(run.run_id, run.command.graph_id, floor)
                return {}
            case "subscription.subscribe":
                return await session.subscribe(read_filter(params))
            case "subscription.unsubscribe":
                subscription_id = params.get("subscription_id")
                if not isinstance(subscription_id, str):
                    raise Refused("invalid_argument", "subscription.unsubscribe requires a subscription_id.")
                await session.unsubscribe(subscription_id)
                return {}
            case "subscription.reconnect":
                return await session.reconnect(params)
            case "agent.getTree":
                return {"tree": await session.tree()}
            case _:
                raise Refused("unknown_command", f"Unknown protocol command: {method[:200]}")

    async def _start(self, request: web.Request, params: Object) -> PreparedRun:
        if not isinstance(params.get("assistant_id"), str):
            raise Refused("invalid_argument", "run.start requires an assistant_id.")
        kept: Object = {name: params[name] for name in RUN_PARAMS if name in params}
        if "config" in params:
            _config(params["config"])
        thread_id = _thread(request)
        if kept.get("input") is not None and await self._answers_a_question(thread_id, kept):
            kept["command"] = {"resume": kept.pop("input")}
        return await self._run(request, thread_id, kept)

    async def _answers_a_question(self, thread_id: str, params: Object) -> bool:
        """Return whether the input answers the ``interrupt()`` at which the thread has stopped: the protocol defines it so,
        and `RemoteGraph` resumes this way. A run from an earlier checkpoint raises its interrupts anew."""
        if _object(_object(params.get("config")).get("configurable")).get("checkpoint_id") is not None:
            return False
        row = await self._core.reads.row(SQL["waits_for_answer"], thread_id)
        return row is not None and bool(row["waits"])

    async def _respond(self, request: web.Request, params: Object) -> PreparedRun:
        answers = _answers(params)
        config = _config({} if params.get("config") is None else params["config"])
        strict = params.get("strict_resume")
        if strict is not None and not isinstance(strict, bool):
            raise wrong_type(strict, "boolean", ["strict_resume"])
        try:
            thread_id = _thread(request)
            await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
        except ApiError as failed:
            if failed.status in (404, 422):  # what is not there for the caller, and no thread at all
                raise Refused("no_such_run", NO_INTERRUPTED_RUN) from None
            raise
        row = await self._core.reads.row(SQL["answered_with"], thread_id)
        if row is None or row["assistant_id"] is None:  # it has never run
            raise Refused("no_such_run", NO_INTERRUPTED_RUN)
        command = {
            "resume": answers,
            **{name: params[name] for name in ("update", "goto") if params.get(name) is not None},
        }
        then = (msgspec.json.decode(row["config"]) or {}).get("configurable") or {}
        config = {**config, "configurable": {**then, **_object(config.get("configurable"))}}
        body = {"assistant_id": row["assistant_id"], "command": command, "config": config}
        if "metadata" in params:
            body["metadata"] = params["metadata"]
        if strict:  # then a run fails that reports the reason to all subscribers of the thread (`decide_answers`)
            body["strict_resume"] = True
            return await self._run(request, thread_id, body)
        try:
            return await self._run(request, thread_id, body, list(answers))
        except ApiError as refused:
            if refused.detail == NO_INTERRUPTED_RUN:
                if await self._core.reads.value(SQL["ever_asked"], thread_id):
                    raise Refused("no_such_interrupt", INTERRUPT_CONSUMED.format(next(iter(answers)))) from None
                raise Refused("no_such_run", NO_INTERRUPTED_RUN) from None
            if refused.detail in {INTERRUPT_CONSUMED.format(id) for id in answers}:
                raise Refused("no_such_interrupt", str(refused.detail)) from None
            raise

    async def _run(
        self, request: web.Request, thread_id: str, params: Object, answers: Sequence[str] = ()
    ) -> PreparedRun:
        """Start a run of the protocol. Raises ApiError."""
        body: RunCreate = decode_body(msgspec.json.encode(params), RUN_CREATE)
        configurable = {**_object(body.config.get("configurable")), EVENT_STREAMING: True, "thread_id": thread_id}
        body.config = {**body.config, "configurable": configurable}
        body.stream_mode = MODES  # type: ignore[assignment]
        body.stream_subgraphs = body.stream_resumable = True
        body.if_not_exists = "create"
        run = await self._submission.prepare(
            request, body, thread_id, Particulars(answers=tuple(answers), hidden=HIDDEN)
        )
        await self._submission.submit(run)
        return run


def _thread(request: web.Request) -> str:
    try:
        return uuid_of(request.match_info["thread_id"], "thread")
    except ApiError:
        raise ApiError(422, "Invalid thread ID") from None


def _config(given: Any) -> Object:
    """Return the config of a command, checked as that of a run. Raises ApiError 422."""
    if not isinstance(given, dict):
        raise wrong_type(given, "object", ["config"])
    check_config(given)
    return given


def _answers(params: Object) -> Object:
    """Return interrupt id -> answer."""
    given = params.get("responses")
    if not isinstance(given, list | None):
        raise Refused("invalid_argument", "input.respond takes its responses as an array.")
    entries = given or [params]
    if len(entries) > MAX_RESPONSES:
        raise Refused("invalid_argument", f"input.respond takes at most {MAX_RESPONSES} responses.")
    answers: Object = {}
    for entry in entries:
        id = entry.get("interrupt_id") if isinstance(entry, dict) else None
        if not isinstance(id, str):
            raise Refused("invalid_argument", "input.respond requires an interrupt_id.")
        answers[id] = entry.get("response")
    return answers


def _object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}
