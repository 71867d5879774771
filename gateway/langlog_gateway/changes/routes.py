"""``GET /changes``: changes of threads, runs, assistants and crons, as lists of them show it (langlog's own)."""

from __future__ import annotations

from functools import partial

from aiohttp import hdrs, web

from ..auth.access import guarded
from ..auth.sight import Sight, sight_of
from ..core import Core
from ..http.errors import ApiError, unprocessable
from ..http.validation import query_names
from ..resources.cron_access import CronAccess
from ..runs.submission import RunSubmission
from ..streams.stream_out import StreamOut
from .gathering import KINDS, Kind
from .hub import Hub
from .reader import Reader


class Changes:
    def __init__(self, core: Core, hub: Hub) -> None:
        self._core = core
        self._hub = hub
        self._crons = CronAccess(core, RunSubmission(core))

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/changes", self.stream)]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the creation, change and deletion of threads, runs, assistants and crons, as lists of them show it.

        The first message, `open`, names the `kinds` that are sent. Query a list after it, and no change is missed. Each `changes`
        message holds the changed objects by kind, without values of threads and kwargs of runs; `deleted` holds `{kind, id}` of what
        was deleted (the runs of a deleted thread are not listed); `stale` names kinds whose lists must be queried again, because
        changes were lost, are too many, or concern objects that the caller may no longer see. A client that reconnects sends the id
        of its last message as `Last-Event-ID`. Changes within 0.1 s are sent in one message. The stream does not end by itself.
        """
        kinds = _kinds(request)
        sights = await self._sights(request, kinds)
        self._core.enter_stream(request)
        reader: Reader | None = None
        try:
            out = StreamOut(request, self._core.settings.heartbeat_s, {})
            if request.method == hdrs.METH_HEAD:
                await out.open()
                return await out.close()
            reader = await self._hub.open(sights, request.headers.get("last-event-id"))
            await out.open()
            out.guard(reader)
            check = partial(self._check_access, request, kinds, reader) if guarded(request) else None
            follow = partial(self._follow, out, reader)
            return await out.while_permitted(self._core.permissions, "", "leave", check, follow)
        finally:
            if reader is not None:
                self._hub.close(reader)
            self._core.leave_stream(request)

    async def _follow(self, out: StreamOut, reader: Reader) -> web.StreamResponse:
        while True:
            await out.write(reader.take())
            if reader.closing:
                out.break_off()
            await out.wait(reader)

    async def _check_access(self, request: web.Request, kinds: list[Kind] | None, reader: Reader) -> None:
        """Check that the caller may still read, and update its sights. Raises ApiError."""
        self._hub.see(reader, await self._sights(request, kinds))

    async def _sights(self, request: web.Request, kinds: list[Kind] | None) -> dict[Kind, Sight]:
        """Return what the caller sees of each kind. Kinds that are not requested by name are left out if handlers refuse
        them. Raises ApiError."""
        sights: dict[Kind, Sight] = {}
        refused: ApiError | None = None
        for kind in kinds or KINDS:
            if kind == "runs" and "threads" in sights:
                sights[kind] = sights["threads"]
                continue
            try:
                match kind:
                    case "threads" | "runs":  # a run is seen by those who see its thread
                        sights[kind] = await sight_of(request, "threads")
                    case "assistants":
                        sights[kind] = await sight_of(request, "assistants")
                    case "crons":
                        sights[kind] = await self._crons.sight(request, {"metadata": {}})
            except ApiError as error:
                if kinds is not None or error.status >= 500:
                    raise
                refused = error
        if not sights and refused is not None:
            raise refused
        return sights


def _kinds(request: web.Request) -> list[Kind] | None:
    """Return the requested kinds; None: all. Raises ApiError 422."""
    named = {name.strip() for text in query_names(request, "kinds") for name in text.split(",") if name.strip()}
    unknown = sorted(named - set(KINDS))
    if unknown:
        raise unprocessable(f"kinds names {unknown[0][:100]!r}: expected {', '.join(KINDS)}, with commas between them")
    return [kind for kind in KINDS if kind in named] or None
