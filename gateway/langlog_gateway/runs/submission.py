"""Submitting runs (wire contract §5.1): every endpoint that creates runs passes the same steps, in `RunSubmission.prepare`.

1. `validate`: members of the body are of the right types and within the server's limits.
2. `merge_config`: the run's settings merged over its assistant's, with the server's additions.
3. `authorise`: the project's handlers of ``threads.create_run`` see the resulting run, may change it, and return a filter.
4. `build_command`: the command, with that filter; the decider checks it against the thread.

Each step's argument is the result of the one before, so that none can be left out: a command is built from an `AuthorisedRun` only.
What a step computes is a pure function (`valid_run`, `layered`, `built`). Crons pass the first three when they are created; schedulers,
which have no handlers, apply the result (`CronAuthority`) to each run. All is on the gateway's event loop. A gateway that dies before
the command is appended has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec
from aiohttp import web
from langlog_backbone.credentials.run_credentials import Private
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process import tracing
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.time.clock import iso, now, now_ms
from langlog_backbone.time.sources import uuid4
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas.json_types import Object
from langlog_schemas.messages import Reply
from langlog_schemas.rules.filters import Filter
from langlog_schemas.runs import request as run_request
from langlog_schemas.runs.request import PUBLIC_MEMBERS, Assistant, Layered, RunCreate, Server
from msgspec import Raw
from msgspec.structs import replace

from ..auth.access import User, authorize, caller, guarded, identity_of
from ..core import Core, origin_of
from ..http.backends import Origin
from ..http.errors import ApiError, not_found, unavailable, unprocessable
from ..http.run_config import check_choice, check_command, mirrored
from ..http.validation import check_sizes, check_webhook
from ..responses import runs
from .assistants import RunAssistants

SQL = load_sql("langlog_gateway", "runs.sql")
DELAY_TOO_LONG = "after_seconds is {:g}: a run may begin at most {:g} seconds from now (LANGLOG_MAX_DELAY_SECS); a cron begins later ones"
NO_PRIVATE = Private()


class Particulars(NamedTuple):
    """Properties of a run that depend on the endpoint that creates it; the defaults are those of a background run."""

    waits: bool = False
    """The client waits for the run's end: ``on_disconnect`` counts."""
    cron: bool = False
    """The run belongs to a cron and begins when it is due. ``on_completion`` and ``after_seconds`` do not count, and
    ``config.configurable`` and ``context`` may be given together."""
    number: int = 0
    """Number of the run among those of one request."""
    answers: tuple[str, ...] = ()
    """Ids of the interrupts that it answers; it is rejected unless all are open."""
    hidden: frozenset[str] = frozenset()
    """Names that its thread does not show in ``config.configurable``."""


PLAIN = Particulars()


class RunIds(NamedTuple):
    """Ids of a run and its thread."""

    thread_id: str
    run_id: str
    stateless: bool
    """The thread is created for the run."""
    temporary: bool
    """The thread is deleted when the run ends."""


class ValidRun(NamedTuple):
    """A body whose members are of the right types and within their limits."""

    body: RunCreate
    config: Object
    context: Object
    """Context and configurable: both spellings filled in."""
    narrowed: bool
    """``context`` was set, so the configurable gets only members of the graph's context schema."""


class MergedRun(NamedTuple):
    """A run whose settings are merged with its assistant's."""

    valid: ValidRun
    assistant: Assistant
    ids: RunIds
    layered: Layered
    private: Private
    """Credentials that the run needs of its caller and its command must not hold."""


class AuthorisedRun(NamedTuple):
    """A run that the caller may create, as the project's handlers have changed it. Made by `RunSubmission.authorise` alone."""

    merged: MergedRun
    metadata: Object
    kwargs: Object | Raw
    visible: Filter | None
    """Filter that the thread must match."""


class PreparedRun(NamedTuple):
    """A run whose command is ready to be appended."""

    command: cmd.CreateRun
    origin: Origin
    cancel_on_disconnect: bool
    stateless: bool
    private: Private = NO_PRIVATE

    @property
    def thread_id(self) -> str:
        return self.command.thread_id

    @property
    def run_id(self) -> str:
        return self.command.run_id

    @property
    def cannot_be_rejected(self) -> bool:
        """Whether the decider has no reason to reject the command: its thread is minted for it."""
        return self.command.fresh and self.command.temporary

    @property
    def path(self) -> str:
        """Path of the run, for ``content-location`` (wire contract §5.1)."""
        return f"/threads/{self.thread_id}/runs/{self.run_id}"

    def without_kwargs(self) -> PreparedRun:
        """Return the run without its input, which may be large, for following it."""
        return self._replace(command=replace(self.command, kwargs=Raw(b"{}")))


class RunSubmission:
    def __init__(self, core: Core) -> None:
        self._core = core
        self.assistants = RunAssistants(core.reads)

    async def prepare(
        self, request: web.Request, body: RunCreate, thread_id: str | None, particulars: Particulars = PLAIN
    ) -> PreparedRun:
        """Return a run with its command, by all steps. ``thread_id`` None: stateless. Raises ApiError."""
        assistant = (await self.assistants.named(request, [body.assistant_id]))[0]
        return await self._prepare(request, body, assistant, thread_id, particulars)

    async def prepare_batch(self, request: web.Request, bodies: Sequence[RunCreate]) -> list[PreparedRun]:
        """Like `prepare`, for stateless runs that are created together."""
        assistants = await self.assistants.named(request, [body.assistant_id for body in bodies])
        return [
            await self._prepare(request, body, assistant, None, Particulars(number=n))
            for n, (body, assistant) in enumerate(zip(bodies, assistants, strict=True))
        ]

    async def _prepare(
        self,
        request: web.Request,
        body: RunCreate,
        assistant: Assistant,
        thread_id: str | None,
        particulars: Particulars,
    ) -> PreparedRun:
        origin = origin_of(request)
        stateless = thread_id is None
        ids = RunIds(
            thread_id=origin.mint(_numbered("run thread", particulars.number)) if thread_id is None else thread_id,
            run_id=new_run_id(origin, particulars.number),
            stateless=stateless,
            temporary=stateless and body.on_completion == "delete",
        )
        valid = self.validate(body, particulars, stateless=stateless)
        merged = await self.merge_config(request, valid, assistant, ids, particulars)
        authorised = await self.authorise(request, merged)
        return self.build_command(authorised, origin, particulars)

    # the steps

    def validate(self, body: RunCreate, particulars: Particulars, *, stateless: bool) -> ValidRun:
        """Check the body. A webhook is left out if the server sends none. Raises ApiError 400 and 422."""
        core = self._core
        valid = valid_run(body, particulars, stateless=stateless)
        check_sizes(core.settings, metadata=body.metadata, config=body.config, context=body.context)
        if core.options.http.disable_webhooks:
            body.webhook = None
        if body.webhook is not None:
            check_webhook(core.webhooks, body.webhook)
        longest_s = core.settings.max_delay_s
        if not (particulars.cron or body.after_seconds <= longest_s):
            raise unprocessable(DELAY_TOO_LONG.format(body.after_seconds, longest_s))
        return valid

    async def merge_config(
        self, request: web.Request, valid: ValidRun, assistant: Assistant, ids: RunIds, particulars: Particulars = PLAIN
    ) -> MergedRun:
        """Return the run as its worker would get it. Raises ApiError, also what the project's own code refuses with."""
        core = self._core
        user, headers, private = self._caller(request)
        context = await core.code.encryption_contexts.of(request)
        server = Server(
            run_id=ids.run_id,
            thread_id=ids.thread_id,
            request_id=uuid4(),
            started_ms=now_ms(),
            user=user,
            user_id="" if user is None else user["identity"],
            permissions=[] if user is None else user.get("permissions", []),
            headers=core.options.http.trace(request.headers) | headers | context,
            sealed=bool(private),
            traceparent=tracing.current(),
        )
        members = await self.assistants.context_members(assistant.graph_id) if valid.narrowed else None
        merged = layered(valid, assistant, server, particulars, temporary=ids.temporary, members=members)
        return MergedRun(valid, assistant, ids, merged, private)

    async def authorise(self, request: web.Request, run: MergedRun) -> AuthorisedRun:
        """Return the run, if the project's handlers let the caller create it. Raises ApiError where one refuses."""
        body, kwargs = run.valid.body, run.layered.kwargs
        value: dict[str, Any] = {
            "thread_id": run.ids.thread_id,
            "assistant_id": run.assistant.assistant_id,
            "run_id": run.ids.run_id,
            "status": "pending",
            "metadata": run.layered.metadata,
            "kwargs": msgspec.json.decode(kwargs) if guarded(request) else kwargs,
            "multitask_strategy": body.multitask_strategy,
            "if_not_exists": if_not_exists(body, run.ids),
            "after_seconds": body.after_seconds,
            "prevent_insert_if_inflight": body.multitask_strategy == "reject",
        }
        visible = await authorize(request, "threads", "create_run", value)
        return AuthorisedRun(run, value["metadata"], value["kwargs"], visible)

    def build_command(self, run: AuthorisedRun, origin: Origin, particulars: Particulars = PLAIN) -> PreparedRun:
        """Return the command that creates the run."""
        return built(run, particulars, origin, self._core.default_ttl, now())

    def _caller(self, request: web.Request) -> tuple[User | None, dict[str, str], Private]:
        """Return the user's public members, the public headers, and the private ones of both."""
        options = self._core.options
        user = caller(request)
        public = PUBLIC_MEMBERS.union(options.auth.public_members)
        shown = None if user is None else {k: v for k, v in user.items() if k in public}
        headers = options.http.configurable(request.headers)
        open_headers = {k: v for k, v in headers.items() if options.http.is_public(k)}
        private = Private(
            user={k: v for k, v in (user or {}).items() if k not in public},
            headers={k: v for k, v in headers.items() if k not in open_headers},
        )
        return shown, open_headers, private

    # appending

    async def submit(self, run: PreparedRun) -> Reply:
        """Append the command and wait until the run exists. Raises ApiError."""
        async with self._core.queue_depth.enter(run.command.user_id):
            await self._keep_private([run])
            return await self._core.commands.execute(run.command, run.origin, "run command")

    async def submit_unconfirmed(self, run: PreparedRun) -> None:
        """Like `submit`, without waiting for the decider's reply if it cannot reject the run."""
        if not run.cannot_be_rejected:
            await self.submit(run)
            return
        async with self._core.queue_depth.enter(run.command.user_id):
            await self._keep_private([run])
            await self._core.commands.append(run.command, run.origin)

    async def submit_batch(self, request: web.Request, runs: Sequence[PreparedRun]) -> list[Reply]:
        """Like `submit`, for runs that are created together. Raises the first ApiError."""
        replies = await self.submit_each(request, runs)
        for reply in replies:
            if reply.status != 200:
                raise ApiError(reply.status, reply.detail or "")
        return replies

    async def submit_each(self, request: web.Request, runs: Sequence[PreparedRun]) -> list[Reply]:
        """Append the commands together; each is decided by itself, and the replies include rejections. Raises ApiError."""
        async with self._core.queue_depth.enter(identity_of(request), len(runs)):
            await self._keep_private(runs)
            commands = [run.command for run in runs]
            return await self._core.commands.execute_all(commands, origin_of(request), "run command")

    async def _keep_private(self, runs: Sequence[PreparedRun]) -> None:
        """Store credentials before the commands are appended: a run must not be acknowledged whose credentials are not on
        disk. Raises ApiError 503."""
        try:
            await self._core.credentials.keep({run.run_id: run.private for run in runs if run.private})
        except Exception as error:
            if is_unavailable(error):
                raise unavailable("Postgres") from error
            raise

    async def created(self, run: PreparedRun, reply: Reply) -> runs.Run:
        """Return the new run as the API shows it. Raises ApiError."""
        if reply.type == ev.RunCreated.TYPE and run.origin.key is None:
            return _created(reply)
        # another event came first (a run that had to make room), or it is a repetition
        row = await self._core.reads.row(SQL["run"], run.thread_id, run.run_id)
        if row is not None:
            return runs.run(row)
        if reply.type == ev.CommandRepeated.TYPE:
            raise not_found()
        if reply.type == ev.RunCreated.TYPE:  # it is over, and its row gone with its thread: shown as it was made
            return _created(reply)
        # it was rolled back or deleted in the same moment: the caller still gets the run that the request made
        return runs.created_run(_as_made(run.command), reply.time)


def valid_run(body: RunCreate, particulars: Particulars, *, stateless: bool) -> ValidRun:
    """Return the body if its members are valid. Raises ApiError 400 and 422."""
    # each is checked only where it has an effect: the JavaScript client's types make it send `on_completion: "complete"`
    # or `"continue"`, which mean nothing on a thread.
    if particulars.waits:
        check_choice("on_disconnect", body.on_disconnect, "cancel", "continue")
    if stateless and not particulars.cron:
        check_choice("on_completion", body.on_completion, "delete", "keep")
    check_command(body.command)
    config, context = mirrored(body.config, body.context, both=particulars.cron)
    return ValidRun(body, config, context, narrowed=bool(body.context) and not particulars.cron)


def layered(
    valid: ValidRun,
    assistant: Assistant,
    server: Server,
    particulars: Particulars = PLAIN,
    *,
    temporary: bool = False,
    members: list[str] | None = None,
) -> Layered:
    """Return the run's settings merged over its assistant's. ``members``: those of the graph's context schema; None: any."""
    config = valid.config
    if members is not None and valid.narrowed:
        config = {**config, "configurable": {k: v for k, v in valid.context.items() if k in members}}
    merged = run_request.layer(valid.body, config, valid.context, assistant, server, temporary=temporary)
    for name in particulars.hidden:
        merged.thread_config["configurable"].pop(name, None)
    return merged


def built(
    run: AuthorisedRun,
    particulars: Particulars,
    origin: Origin,
    thread_ttl: cmd.Ttl | None,
    now: datetime,
) -> PreparedRun:
    """Return the command of a run. ``thread_ttl``: that of a thread that it creates."""
    valid, assistant, ids, merged, private = run.merged
    body = valid.body
    command = cmd.CreateRun(
        thread_id=ids.thread_id,
        run_id=ids.run_id,
        assistant_id=assistant.assistant_id,
        graph_id=assistant.graph_id,
        kwargs=run.kwargs if isinstance(run.kwargs, Raw) else Raw(msgspec.json.encode(run.kwargs)),
        assistant_metadata=assistant.metadata,
        metadata=run.metadata,
        thread_config=merged.thread_config,
        multitask_strategy=body.multitask_strategy,
        if_not_exists=if_not_exists(body, ids),
        not_before=_moment(now, body.after_seconds),
        user_id=origin.user_id,
        temporary=ids.temporary,
        fresh=ids.stateless and origin.key is None,
        thread_ttl=thread_ttl,
        visible=run.visible,
        answers=list(particulars.answers),
    )
    return PreparedRun(command, origin, particulars.waits and body.on_disconnect == "cancel", ids.stateless, private)


def if_not_exists(body: RunCreate, ids: RunIds) -> Literal["create", "reject"]:
    """Return the behavior if the thread does not exist."""
    return "create" if ids.stateless else body.if_not_exists


def _moment(now: datetime, after_s: float) -> str | None:
    return iso(now + timedelta(seconds=after_s)) if after_s > 0 else None


def new_run_id(origin: Origin, number: int) -> str:
    """Return the id of the run of a request with this number; the same again when the request is repeated under a key."""
    return origin.mint(_numbered("run", number))


def _numbered(what: str, number: int) -> str:
    return f"{what} {number}" if number else what


def _created(reply: Reply) -> runs.Run:
    event = ev.decode(reply.type, reply.body)
    assert isinstance(event, ev.RunCreated)
    return runs.created_run(event, reply.time)


def _as_made(command: cmd.CreateRun) -> ev.RunCreated:
    """Return the event that results from the command, without the metadata of its thread."""
    shown = {"graph_id": command.graph_id, "assistant_id": command.assistant_id}
    return ev.RunCreated(
        thread_id=command.thread_id,
        run_id=command.run_id,
        ordinal=0,
        assistant_id=command.assistant_id,
        graph_id=command.graph_id,
        kwargs=command.kwargs,
        metadata={**command.assistant_metadata, **shown, **command.metadata},
        multitask_strategy=command.multitask_strategy,
    )
