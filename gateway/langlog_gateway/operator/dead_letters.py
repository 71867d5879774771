"""``/operator/dead-letters``: keys that are parked behind a record that cannot be handled; retry or drop it (docs on dead letters)."""

from __future__ import annotations

import msgspec
from aiohttp import web
from langlog_backbone.log import AppendUnknown, LogUnavailable
from langlog_backbone.operation import parked_keys
from langlog_backbone.operation.parked_keys import NotReleased, ParkedKeys
from langlog_backbone.process.unavailable import is_unavailable

from ..auth.access import admit_operator, identity_of
from ..core import Core, json_response
from ..http.errors import ApiError, not_found, unavailable, unprocessable
from ..http.validation import read_body
from ..requests.operator import DropRecord, RetryKey
from ..responses.system import Released

RECORDS_SHOWN = 200
"""Maximum number of waiting records of one key in a response; the others are counted."""

_retry = msgspec.json.Decoder(RetryKey)
_drop = msgspec.json.Decoder(DropRecord)


class DeadLetters:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._parked = ParkedKeys(core.pool, core.log, core.bus)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/operator/dead-letters", self.keys),
            web.get("/operator/dead-letters/records", self.records),
            web.post("/operator/dead-letters/retry", self.retry),
            web.post("/operator/dead-letters/drop", self.drop),
        ]

    async def keys(self, request: web.Request) -> web.Response:
        """Parked keys, the longest parked first: how many records wait behind which one, and what is wrong with it."""
        admit_operator(request)
        with_postgres = parked_keys.keys(self._core.pool)
        try:
            return json_response(msgspec.json.encode(await with_postgres))
        except Exception as error:
            raise _unavailable(error) from None

    async def records(self, request: web.Request) -> web.Response:
        """The first records of a parked key that wait, 200 at most and fewer where they are large, in the order in which they are
        handled once it is released.
        """
        admit_operator(request)
        key = request.query.get("key")
        if not key:
            raise unprocessable("key is missing: the key of the parked records")
        try:
            records = await parked_keys.portion_of(self._core.pool, key, count=RECORDS_SHOWN)
        except Exception as error:
            raise _unavailable(error) from None
        return json_response(msgspec.json.encode(records))

    async def retry(self, request: web.Request) -> web.Response:
        """Handle the records of a parked key again, in order, after the cause was fixed."""
        admit_operator(request)
        body = await read_body(request, _retry)
        return await self._release(request, body.key, None)

    async def drop(self, request: web.Request) -> web.Response:
        """Permanently discard the first record of a parked key, the one that cannot be handled, and handle the others.

        `origin` names the record as the list shows it; another one than the first is refused with 409.
        """
        admit_operator(request)
        body = await read_body(request, _drop)
        return await self._release(request, body.key, body.origin)

    async def _release(self, request: web.Request, key: str, drop: str | None) -> web.Response:
        try:
            first = await self._parked.first(key)
            if first is None:
                raise not_found(f"Nothing of {key} is parked")
            if drop is not None and (first.origin != drop or first.state != "bad"):
                raise ApiError(
                    409, f"{drop} is not the record that {key} is parked behind: that is {first.origin}; list again"
                )
            handled = await self._parked.release(key, drop, identity_of(request) or None)
        except NotReleased as reason:
            raise ApiError(409, f"{key} is still parked: {reason}") from None
        except (LogUnavailable, AppendUnknown):
            raise unavailable("The log") from None
        except ApiError:
            raise
        except Exception as error:
            raise _unavailable(error) from None
        return json_response(msgspec.json.encode(Released(key, handled)))


def _unavailable(error: Exception) -> Exception:
    """Return 503 for errors of an unavailable Postgres; any other error unchanged."""
    return unavailable("Postgres") if is_unavailable(error) else error
