"""A run after each step of its submission (`submission.RunSubmission`). Pure.

Each step's argument is the result of the one before, so that none can be left out: a command is built from an `AuthorisedRun` only.
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
from ..http.run_config import check_choice, check_command, mirrored

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
        user_id=origin.actor or "",
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
