"""``/operator/webhooks``: deliveries of webhooks that wait for their next attempt or were given up; send these again (docs on webhooks)."""

from __future__ import annotations

import msgspec
from aiohttp import web
from langlog_backbone.log import AppendUnknown, LogUnavailable
from langlog_backbone.operation.webhooks import State, Undelivered, send_again, undelivered
from langlog_backbone.process.unavailable import is_unavailable

from ..auth.access import admit_operator
from ..core import Core, json_response
from ..http.errors import unavailable, unprocessable
from ..http.validation import query_int, read_body, uuid_of
from ..requests.operator import RetryWebhooks
from ..responses.webhooks import NotSent, SentAgain

STATES: dict[str, State] = {"given-up": "given up", "waiting": "waiting"}
LIMIT, LIMIT_MAX = 100, 1_000

_retry = msgspec.json.Decoder(RetryWebhooks)


class Webhooks:
    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/operator/webhooks", self.list), web.post("/operator/webhooks/retry", self.retry)]

    async def list(self, request: web.Request) -> web.Response:
        """The deliveries that were given up, the last one first, and then those that wait for their next attempt, the next one first.

        Addresses are shown without credentials and query.
        """
        admit_operator(request)
        wanted = request.query.get("state")
        if wanted is not None and wanted not in STATES:
            raise unprocessable(f"state must be one of {', '.join(STATES)}, not {wanted[:100]!r}")
        thread = request.query.get("thread_id")
        thread_id = None if thread is None else uuid_of(thread, "thread")
        limit = max(1, min(query_int(request, "limit", LIMIT), LIMIT_MAX))
        listed: list[Undelivered] = []
        try:
            for name, state in STATES.items():
                if wanted in (None, name):
                    async for page in undelivered(self._core.pool, state, thread_id, limit=limit - len(listed)):
                        listed += page
        except Exception as error:
            raise _unavailable(error) from None
        return json_response(msgspec.json.encode(listed))

    async def retry(self, request: web.Request) -> web.Response:
        """Attempt the deliveries of these runs again that were given up, as often as new ones. Receivers get the same body and the same
        `webhook-id` as before. Those that cannot be sent again are returned with the reason, and the others are sent all the same.
        """
        admit_operator(request)
        body = await read_body(request, _retry)
        run_ids = [uuid_of(str(run_id), "run") for run_id in body.run_ids]
        try:
            count, refused = await send_again(self._core.pool, self._core.log, run_ids)
        except (LogUnavailable, AppendUnknown):
            raise unavailable("The log") from None
        except Exception as error:
            raise _unavailable(error) from None
        return json_response(
            msgspec.json.encode(SentAgain(count, [NotSent(one.run_id, one.reason) for one in refused]))
        )


def _unavailable(error: Exception) -> Exception:
    """Return 503 for errors of an unavailable Postgres; any other error unchanged."""
    return unavailable("Postgres") if is_unavailable(error) else error
