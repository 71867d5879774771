"""A run after each step of its submission (`submission.RunSubmission`). Pure.

Each step takes what the step before it returns, so that none can be left out: a command is built of an `AuthorisedRun` alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
from langlog_backbone.credentials.run_credentials import Private
from langlog_backbone.time.clock import iso
from langlog_schemas import commands as cmd
from langlog_schemas.json_types import Object
from langlog_schemas.rules.filters import Filter
from langlog_schemas.runs import request as run_request
from langlog_schemas.runs.request import Assistant, Layered, RunCreate, Server
from msgspec import Raw
from msgspec.structs import replace

from ..http.backends import Origin
from ..http.config import check_choice, check_command, mirrored

NO_PRIVATE = Private()


class Particulars(NamedTuple):
    """How the way by which a run comes about differs from a run in the background."""

    waits: bool = False
    """The client waits for the run's end: ``on_disconnect`` counts."""
    cron: bool = False
    """The run begins whenever its cron is due. ``on_completion`` and ``after_seconds`` do not count, and ``config.configurable`` and
    ``context`` may be given together."""
    number: int = 0
    """Of the run among those of one request."""
    answers: tuple[str, ...] = ()
    """Ids of the interrupts that it answers: it is rejected unless all are open."""
    hidden: frozenset[str] = frozenset()
    """Names that its thread does not show in ``config.configurable``."""


PLAIN = Particulars()


class RunIds(NamedTuple):
    """Which run on which thread."""

    thread_id: str
    run_id: str
    stateless: bool
    """The thread is made for the run."""
    temporary: bool
    """And goes when the run ends."""


class ValidRun(NamedTuple):
    """A body whose members are of the right types and within their limits."""

    body: RunCreate
    config: Object
    context: Object
    """Either holds what the other was given."""
    narrowed: bool
    """``context`` was given: the configurable takes only what the graph's context schema names."""


class MergedRun(NamedTuple):
    """A run whose settings and its assistant's have become one."""

    valid: ValidRun
    assistant: Assistant
    ids: RunIds
    layered: Layered
    private: Private
    """What the run needs of its caller and its command must not hold."""


class AuthorisedRun(NamedTuple):
    """A run that the caller may make, as the project's handlers have left it. Made by `RunSubmission.authorise` alone."""

    merged: MergedRun
    metadata: Object
    kwargs: Object | Raw
    visible: Filter | None
    """What the thread must match."""


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
        """The decider has no reason to: its thread is minted for it."""
        return self.command.fresh and self.command.temporary

    @property
    def path(self) -> str:
        """Where the run is, for ``content-location`` (wire contract §5.1)."""
        return f"/threads/{self.thread_id}/runs/{self.run_id}"

    def without_kwargs(self) -> PreparedRun:
        """The same for those who follow the run: the input may be large."""
        return self._replace(command=replace(self.command, kwargs=Raw(b"{}")))


def valid_run(body: RunCreate, particulars: Particulars, *, stateless: bool) -> ValidRun:
    """The body, where its members are as they must be. Raises ApiError 400 and 422."""
    # Each is checked only where it means something: the JavaScript client's types make it say `on_completion: "complete"`
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
    """The run's settings on top of its assistant's. ``members``: those of the graph's context schema; None: any."""
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
    """The command of a run. ``thread_ttl``: of a thread that it makes."""
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
        user_id=origin.actor or "",
        temporary=ids.temporary,
        fresh=ids.stateless and origin.key is None,
        thread_ttl=thread_ttl,
        visible=run.visible,
        answers=list(particulars.answers),
    )
    return PreparedRun(command, origin, particulars.waits and body.on_disconnect == "cancel", ids.stateless, private)


def if_not_exists(body: RunCreate, ids: RunIds) -> Literal["create", "reject"]:
    """What the run does where its thread does not exist."""
    return "create" if ids.stateless else body.if_not_exists


def _moment(now: datetime, after_s: float) -> str | None:
    return iso(now + timedelta(seconds=after_s)) if after_s > 0 else None
