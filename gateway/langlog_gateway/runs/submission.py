"""Making runs (wire contract §5.1): the assistant is resolved and frozen into the command, the decider does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from langlog_backbone.credentials.run_credentials import Private
from langlog_backbone.postgres.database import load_sql
from langlog_backbone.process import tracing
from langlog_backbone.process.unavailable import is_unavailable
from langlog_backbone.time.clock import now, now_ms
from langlog_backbone.time.sources import uuid4
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas import ids
from langlog_schemas.filters import Filter, admits
from langlog_schemas.messages import Reply
from langlog_schemas.run_request import PUBLIC_MEMBERS, Assistant, Layered, RunCreate, Server
from msgspec.structs import replace

from ..auth.access import User, authorize, caller, guarded, identity_of
from ..core import Core, origin_of
from ..http import presenters
from ..http.backends import Origin
from ..http.config import layer
from ..http.errors import ApiError, HintedError, not_found, unavailable, unprocessable
from ..http.validation import uuid_of, violation
from .assistant_lookup import AssistantLookup

SQL = load_sql("langlog_gateway", "runs.sql")
TARGET_MISSING = "Thread or assistant not found."
NOTHING = Private()


class Order(NamedTuple):
    """A run that is about to be asked for."""

    thread_id: str
    run_id: str
    command: cmd.CreateRun
    origin: Origin
    cancel_on_disconnect: bool
    stateless: bool
    private: Private = NOTHING
    """What the run needs of its caller and its command must not hold."""

    @property
    def certain(self) -> bool:
        """Nothing can speak against it: a run on a thread that is minted for it."""
        return self.command.fresh and self.command.temporary

    def without_kwargs(self) -> Order:
        """As one who follows the run keeps it: the input may be large."""
        return self._replace(command=replace(self.command, kwargs=msgspec.Raw(b"{}")))

    @property
    def path(self) -> str:
        """Where the run is, for ``content-location`` (wire contract §5.1)."""
        return f"/threads/{self.thread_id}/runs/{self.run_id}"


class Asked(NamedTuple):
    """A run as the project's handlers of ``threads.create_run`` have seen it."""

    layered: Layered
    value: dict[str, Any]
    """As the handler left it: ``metadata`` and ``kwargs`` may have changed."""
    visible: Filter | None
    private: Private


class RunOrders:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._lookup = AssistantLookup(core.reads)

    async def order(
        self, request: web.Request, body: RunCreate, thread_id: str | None, *, waits: bool = False, number: int = 0
    ) -> Order:
        """The command for a run; ``thread_id`` None: stateless. Raises ApiError."""
        assistant = (await self.assistants(request, [body.assistant_id]))[0]
        return await self.order_for(request, body, assistant, thread_id, waits=waits, number=number)

    async def order_for(
        self,
        request: web.Request,
        body: RunCreate,
        assistant: Assistant,
        thread_id: str | None,
        *,
        waits: bool = False,
        number: int = 0,
    ) -> Order:
        """As `order`, with the assistant at hand. ``number``: of a batch's runs."""
        # Each is looked at only where it means something: the JavaScript client's types make it say `on_completion: "complete"`
        # or `"continue"`, which mean nothing on a thread.
        if waits:
            _one_of("on_disconnect", body.on_disconnect, "cancel", "continue")
        if thread_id is None:
            _one_of("on_completion", body.on_completion, "delete", "keep")
        self._core.check_sizes(metadata=body.metadata, config=body.config, context=body.context)
        if self._core.options.http.disable_webhooks:
            body.webhook = None
        if body.webhook is not None:
            self._core.check_webhook(body.webhook)
        if not body.after_seconds <= self._core.settings.max_delay_s:
            raise unprocessable(
                f"after_seconds is {body.after_seconds:g}: a run may begin at most {self._core.settings.max_delay_s:g} "
                "seconds from now (LANGLOG_MAX_DELAY_SECS); a cron begins later ones"
            )
        origin = origin_of(request)
        stateless = thread_id is None
        suffix = f" {number}" if number else ""
        run_id = origin.mint(f"run{suffix}")
        if thread_id is None:
            thread_id = origin.mint(f"run thread{suffix}")
        temporary = stateless and body.on_completion == "delete"
        layered, value, visible, private = await self.ask(
            request, body, assistant, thread_id, run_id, stateless=stateless, temporary=temporary
        )
        kwargs = value["kwargs"]
        command = cmd.CreateRun(
            thread_id=thread_id,
            run_id=run_id,
            assistant_id=assistant.assistant_id,
            graph_id=assistant.graph_id,
            kwargs=kwargs if isinstance(kwargs, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(kwargs)),
            assistant_metadata=assistant.metadata,
            metadata=value["metadata"],
            thread_config=layered.thread_config,
            multitask_strategy=body.multitask_strategy,
            if_not_exists="create" if stateless else body.if_not_exists,
            not_before=_moment(body.after_seconds),
            user_id=identity_of(request),
            temporary=temporary,
            fresh=stateless and origin.key is None,
            thread_ttl=self._core.default_ttl,
            visible=visible,
        )
        cancel = waits and body.on_disconnect == "cancel"
        return Order(thread_id, run_id, command, origin, cancel, stateless, private)

    async def ask(
        self,
        request: web.Request,
        body: RunCreate,
        assistant: Assistant,
        thread_id: str,
        run_id: str,
        *,
        stateless: bool,
        temporary: bool,
    ) -> Asked:
        """Put the run together and ask the handlers whether the caller may make it. Raises ApiError."""
        user, headers, private = self._caller(request)
        context = await self._core.code.encryption_contexts.of(request)
        layered = layer(
            body,
            assistant,
            Server(
                run_id=run_id,
                thread_id=thread_id,
                request_id=uuid4(),
                started_ms=now_ms(),
                user=user,
                user_id="" if user is None else user["identity"],
                permissions=[] if user is None else user.get("permissions", []),
                headers=self._core.options.http.trace(request.headers) | headers | context,
                sealed=bool(private),
                traceparent=tracing.current(),
            ),
            temporary=temporary,
            members=await self._context_members(assistant.graph_id) if body.context else None,
        )
        value: dict[str, Any] = {
            "thread_id": thread_id,
            "assistant_id": assistant.assistant_id,
            "run_id": run_id,
            "status": "pending",
            "metadata": layered.metadata,
            "kwargs": msgspec.json.decode(layered.kwargs) if guarded(request) else layered.kwargs,
            "multitask_strategy": body.multitask_strategy,
            "if_not_exists": "create" if stateless else body.if_not_exists,
            "after_seconds": body.after_seconds,
            "prevent_insert_if_inflight": body.multitask_strategy == "reject",
        }
        visible = await authorize(request, "threads", "create_run", value)
        return Asked(layered, value, visible, private)

    def _caller(self, request: web.Request) -> tuple[User | None, dict[str, str], Private]:
        """The user's public members, the headers that are public, and what is neither."""
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

    async def _keep(self, orders: Sequence[Order]) -> None:
        """Before the commands are appended: a run must not be acknowledged whose credentials are not on disk. Raises ApiError 503."""
        try:
            await self._core.credentials.keep({order.run_id: order.private for order in orders if order.private})
        except Exception as error:
            if is_unavailable(error):
                raise unavailable("Postgres") from error
            raise

    async def assistants(self, request: web.Request, names: Sequence[str]) -> list[Assistant]:
        """The assistants meant by ids or graph names. Raises ApiError 422 for a name of no graph, 404 for what is gone.

        An assistant that the caller may not read is as if it were not there (wire contract §18). The one that the server makes of each graph
        is everybody's: every caller that may create runs may run the project's graphs.
        """
        wanted = []
        named = {}
        for name in names:
            try:
                wanted.append(uuid_of(name, "assistant"))
            except ApiError:
                wanted.append(ids.default_assistant_id(name))
                named[wanted[-1]] = name
        found = await self._lookup.find(wanted)
        if guarded(request):
            found = await self._readable(request, wanted, named, found)
        known = []
        for assistant_id, assistant in zip(wanted, found, strict=True):
            if assistant is not None:
                known.append(assistant)
                continue
            if assistant_id in named:
                graphs = [row["graph_id"] for row in await self._core.reads.rows(SQL["graph_names"])]
                if named[assistant_id] not in graphs:
                    # clients look for either sentence: both the Python and the JavaScript reference server have theirs
                    raise HintedError(
                        422,
                        f"Invalid assistant: {named[assistant_id]!r}. Must be either:\n- A valid assistant UUID, or\n"
                        f"- One of the registered graphs: {', '.join(graphs)}",
                        f'No assistant found for "{named[assistant_id][:200]}".',
                    )
            raise not_found(TARGET_MISSING)
        return known

    async def assistant_filter(self, request: web.Request, assistant: Assistant) -> Filter | None:
        """What the assistant must match for runs that are made later without asking again. Raises ApiError."""
        if is_default(assistant):
            return DEFAULTS_METADATA
        return await authorize(request, "assistants", "read", {"assistant_id": assistant.assistant_id})

    async def _readable(
        self, request: web.Request, ids: Sequence[str], named: Mapping[str, str], found: Sequence[Assistant | None]
    ) -> list[Assistant | None]:
        """Those that the caller may read; None in place of the others. Raises ApiError where a handler refuses."""
        asked: dict[str, Filter | None] = {}
        readable: list[Assistant | None] = []
        for assistant_id, assistant in zip(ids, found, strict=True):
            if assistant is None and assistant_id in named:
                readable.append(None)
                continue
            if assistant is None or not is_default(assistant):
                if assistant_id not in asked:  # also of one that is not there: a refusal must not tell the difference
                    value: dict[str, Any] = {"assistant_id": assistant_id}
                    asked[assistant_id] = await authorize(request, "assistants", "read", value)
                if assistant is not None and not admits(asked[assistant_id], assistant.metadata):
                    assistant = None
            readable.append(assistant)
        return readable

    async def _context_members(self, graph_id: str) -> list[str] | None:
        """What the graph's context schema names; None: it has none, or takes anything."""
        found: list[str] | None = await self._core.reads.value(SQL["context_members"], graph_id)
        return found

    async def place(self, order: Order) -> Reply:
        """Append the command and wait until the run exists. Raises ApiError."""
        async with self._core.queue_depth.enter(order.command.user_id):
            await self._keep([order])
            return await self._core.commands.execute(order.command, order.origin, "run command")

    async def send(self, order: Order) -> None:
        """Append the command of a run that is certain, without waiting. Raises ApiError."""
        async with self._core.queue_depth.enter(order.command.user_id):
            await self._keep([order])
            await self._core.commands.append(order.command, order.origin)

    async def place_all(self, orders: Sequence[Order], origin: Origin) -> list[Reply]:
        """As `place`, of runs that are made together. Raises the first ApiError."""
        user = orders[0].command.user_id if orders else ""
        async with self._core.queue_depth.enter(user, len(orders)):
            await self._keep(orders)
            commands = [order.command for order in orders]
            replies = await self._core.commands.execute_all(commands, origin, "run command")
        for reply in replies:
            if reply.status != 200:
                raise ApiError(reply.status, reply.detail or "")
        return replies

    async def presented(self, order: Order, reply: Reply) -> bytes:
        """The new run as the API shows it."""
        if reply.type == ev.RunCreated.TYPE and order.origin.key is None:
            event = ev.decode(reply.type, reply.body)
            assert isinstance(event, ev.RunCreated)
            return presenters.run_created(event, reply.time)
        # another event came first (a run that had to make room), or it is a repetition
        row = await self._core.reads.row(SQL["run"], order.thread_id, order.run_id)
        if row is not None:
            return presenters.run(row).encode()
        if reply.type == ev.CommandRepeated.TYPE:
            raise not_found()
        if reply.type == ev.RunCreated.TYPE:  # it is over, and its row gone with its thread: shown as it was made
            event = ev.decode(reply.type, reply.body)
            assert isinstance(event, ev.RunCreated)
            return presenters.run_created(event, reply.time)
        # it was rolled back or deleted in the same moment: the caller still gets the run that the request made
        return presenters.run_created(_as_made(order.command), reply.time)


DEFAULTS_METADATA = {"created_by": "system"}
"""Metadata of the assistant that an executor creates for each graph at start."""


def _as_made(command: cmd.CreateRun) -> ev.RunCreated:
    """The event that the command gave, without the metadata of its thread."""
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


def is_default(assistant: Assistant) -> bool:
    """Whether it is the one that the server made of its graph."""
    return assistant.assistant_id == ids.default_assistant_id(assistant.graph_id) and admits(
        DEFAULTS_METADATA, assistant.metadata
    )


def _moment(after_s: float) -> str | None:
    if not after_s > 0:
        return None
    moment = now() + timedelta(seconds=after_s)
    return moment.isoformat(timespec="microseconds")


def _one_of(name: str, value: Any, first: str, second: str) -> None:
    """Raises ApiError."""
    if value not in (first, second):
        found = f'{msgspec.json.encode(value).decode()} is not one of "{first}" or "{second}"'
        raise unprocessable(violation(found, "enum", [name], value))
