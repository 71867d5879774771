"""``Expect: 100-continue``: a client sends its body once the server wants it (RFC 9110, §10.1.1).

The server requests it when it begins to read. A request that is refused by its headers alone, for its credentials or the length of its
body, has its refusal instead, and the client sends nothing; the connection is closed, because a client may send the body all the same.
"""

from __future__ import annotations

from typing import Any

from aiohttp import HttpVersion11, hdrs, web

from ..aiohttp_members import without_header

AWAITED = web.RequestKey("body_awaited", bool)
"""Set while the client waits for the server before it sends the body."""


class ExpectantRequest(web.Request):
    """A request without the header ``Expect``, which the server would answer before it knows the caller. Other expectations than
    ``100-continue`` are ignored, as RFC 9110 permits."""

    def __init__(self, message: Any, *arguments: Any, **named: Any) -> None:
        # what is no HTTP has a plain dict of headers, which is empty
        expected = message.headers.get(hdrs.EXPECT)
        super().__init__(message if expected is None else without_header(message, "expect"), *arguments, **named)
        if expected is not None and expected.lower() == "100-continue" and self.body_exists:
            self[AWAITED] = message.version >= HttpVersion11


async def invite_body(request: web.Request) -> None:
    """Tell a client that waits for it to send the body. Later calls do nothing."""
    if request.pop(AWAITED, False):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await request.writer.drain()
        request.writer.output_size = 0  # the response has not begun


def keeps_body(request: web.Request) -> bool:
    """Return whether the client has not been told to send its body."""
    return request.get(AWAITED) is True
