"""The Studio user: callers with its key, unless the project disables it."""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from tests.gateway.conftest import MakeStack

PROJECT = Path(__file__).parent / "project"
KEY = "key-of-studio"
STUDIO = {"x-auth-scheme": "langsmith", "x-api-key": KEY}
AUTH = """
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization):
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who?")
    return authorization


@auth.on
async def own(ctx, value):
    if isinstance(ctx.user, Auth.types.StudioUser):
        assert ctx.user.is_authenticated and list(ctx.permissions) == ["authenticated"]
        return None
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}
"""


def project(folder: Path, **auth: object) -> Path:
    (folder / "auth.py").write_text(AUTH)
    file = folder / "langgraph.json"
    config = {"graphs": {"echo": "./echo.py:graph"}, "auth": {"path": "./auth.py:auth", **auth}}
    file.write_text(json.dumps(config))
    return file


async def test_handlers_know_the_studio_user_and_may_show_everything(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path), studio_api_key=KEY) as stack:
        alice = {"authorization": "alice"}
        _, thread = await stack.call("POST", "/threads", {}, headers=alice)
        path = f"/threads/{thread['thread_id']}"
        assert (await stack.call("GET", path, headers=STUDIO))[0] == 200
        assert (await stack.call("GET", path, headers={"authorization": "bob"}))[0] == 404
        _, run = await stack.call("POST", f"{path}/runs", {"assistant_id": "echo", "input": {}}, headers=STUDIO)
        user = run["kwargs"]["config"]["configurable"]["langgraph_auth_user"]
        assert user["identity"] == "langgraph-studio-user"


async def test_without_the_key_nobody_is_the_studio_user(make_stack: MakeStack, tmp_path: Path) -> None:
    wrong = ({"x-api-key": "other"}, {"x-api-key": ""}, {"x-auth-scheme": ""}, {"x-auth-scheme": "basic"})
    async with make_stack(project=project(tmp_path), studio_api_key=KEY) as stack:
        for changed in wrong:
            headers = {**STUDIO, **changed}
            status, body = await stack.call("POST", "/threads", {}, headers=headers)
            assert status == 401 and body["detail"].startswith("who?"), changed
            assert ("LANGLOG_STUDIO_API_KEY" in body["detail"]) == (headers["x-auth-scheme"] == "langsmith"), changed
        assert (await stack.call("POST", "/threads", {}, headers={"x-api-key": KEY}))[0] == 401


async def test_there_is_none_when_no_key_is_set_or_the_project_says_so(make_stack: MakeStack, tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as said:
        async with make_stack(project=project(tmp_path)) as stack:
            page = {"origin": "https://smith.langchain.com"}
            for headers in (STUDIO, {**STUDIO, "x-api-key": ""}, page):
                status, body = await stack.call("POST", "/threads", {}, headers=headers)
                assert status == 401 and "LANGLOG_STUDIO_API_KEY" in body["detail"], headers
            for headers in ({}, {"origin": "https://smith.langchain.com.example"}):
                assert await stack.call("POST", "/threads", {}, headers=headers) == (401, {"detail": "who?"})
    (line,) = [line for line in said if line["event"] == "gateway.studio_needs_key"]
    assert "LANGLOG_STUDIO_API_KEY" in line["means"]
    with structlog.testing.capture_logs() as said:
        async with make_stack(project=project(tmp_path, disable_studio_auth=True), studio_api_key=KEY) as stack:
            assert await stack.call("POST", "/threads", {}, headers=STUDIO) == (401, {"detail": "who?"})
    assert not [line for line in said if line["event"] == "gateway.studio_needs_key"]


async def test_a_handler_that_fails_without_credentials_tells_studio_what_is_missing(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    file = project(tmp_path)
    lenient = AUTH.replace("if not authorization:", "if not authorization.split():")
    (tmp_path / "auth.py").write_text(lenient)
    async with make_stack(project=file) as stack:
        status, body = await stack.call("POST", "/threads", {}, headers=STUDIO)
        assert status == 401 and "LANGLOG_STUDIO_API_KEY" in body["detail"]
        assert (await stack.call("POST", "/threads", {}))[0] == 500
