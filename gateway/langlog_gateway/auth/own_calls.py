"""Calls of the project's own code to the server that runs it, by a client without an address (`langlog_backbone.project.loopback`).

They carry a proof that only services of this deployment know. Such a caller is the deployment itself: no handler of the project is
called, and no filter applies, as on a server without authentication. It is no operator, and opens no WebSocket. The header is removed
from a request when the request is made, before anything reads its headers, whether it proves something or not.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from langlog_backbone.credentials.loopback_proof import PROOF_HEADER

from ..http.aiohttp_members import without_header

PROJECT_ACTOR = "langlog:project"
"""Actor of such calls in the log."""
OWN_CALL = web.RequestKey("own_call", bool)
"""Set for requests that were proved to come from the project's own code."""
SENT = web.RequestKey("sent_proofs", list)
"""The values that a request came with, until `recognise` compares them."""


class ProofFreeRequest(web.Request):
    """A request without the header of the proof."""

    def __init__(self, message: Any, *arguments: Any, **named: Any) -> None:
        # what is no HTTP has a plain dict of headers, which is empty
        sent = message.headers.getall(PROOF_HEADER) if PROOF_HEADER in message.headers else []
        super().__init__(without_header(message, PROOF_HEADER) if sent else message, *arguments, **named)
        if sent:
            self[SENT] = sent


class OwnCalls:
    """Recognises calls of the project's own code."""

    def __init__(self, proofs: Sequence[str]) -> None:
        """``proofs``: the values that are accepted."""
        self._proofs = [proof.encode() for proof in proofs]

    def recognise(self, request: web.Request) -> None:
        """Mark the request if it proves where it comes from. Call it once, before anything else handles the request."""
        sent = request.pop(SENT, [])
        if len(sent) == 1 and "upgrade" not in request.headers and self._proves(sent[0]):
            request[OWN_CALL] = True

    def _proves(self, value: str) -> bool:
        given = value.encode("utf-8", "surrogateescape")
        return sum(hmac.compare_digest(given, proof) for proof in self._proofs) > 0  # all are compared


def is_own_call(request: web.Request) -> bool:
    """Return whether the project's own code is the caller."""
    return OWN_CALL in request
