"""Permission to follow a thread by the streaming protocol (wire contract §9 and §18). A client may follow a thread that its
first run will create."""

from __future__ import annotations

from aiohttp import web

from ..auth.access import admit
from ..core import Core
from ..http.errors import ApiError, missing_thread

EXISTS = "SELECT true FROM threads WHERE thread_id = $1"


async def may_follow(core: Core, request: web.Request, thread_id: str) -> bool:
    """Return True if the caller may follow the thread, False if it does not exist yet: check again before sending anything.

    Raises ApiError 404 for a thread that the caller may not see, and the errors with which the project's handlers refuse.
    """
    try:
        await admit(request, "threads", "read", {"thread_id": thread_id}, missing_thread(thread_id))
    except ApiError as error:
        if error.status != 404 or await core.reads.value(EXISTS, thread_id):
            raise
        return False
    return True
