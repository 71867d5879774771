"""Authentication that calls its own server is refused: the server would call it again, without end."""

from __future__ import annotations

import json
from pathlib import Path

from tests.gateway.conftest import MakeStack

AUTH = """
from langgraph_sdk import Auth, get_client

auth = Auth()
server = get_client()


async def ask():
    try:
        await server.threads.count()
    except Exception as error:
        raise Auth.exceptions.HTTPException(status_code=403, detail=str(error))


@auth.authenticate
async def authenticate(authorization):
    if authorization != "known":
        await ask()
    return authorization


@auth.on.threads
async def allow(ctx, value):
    await ask()
"""


async def test_authentication_cannot_ask_the_server_that_asks_it(make_stack: MakeStack, tmp_path: Path) -> None:
    (tmp_path / "auth.py").write_text(AUTH)
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"echo": "./echo.py:graph"}, "auth": {"path": "./auth.py:auth"}}))
    async with make_stack(project=file) as stack:
        for who in ("unknown", "known"):  # by whom it is, and by what it may do
            status, body = await stack.call("POST", "/threads", {}, headers={"authorization": who})
            assert status == 403, body
            assert "authenticated in turn, without end" in body["detail"]
        answer = await stack.call("POST", "/assistants/count", {}, headers={"authorization": "known"})
        assert answer[0] == 200, "what asks nobody is as before"
