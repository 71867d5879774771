"""The project's application and auth handlers, loaded again while the gateway serves."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from langlog_backbone.project.config import read_project
from langlog_backbone.project.imports import prepare_process

from tests.gateway.conftest import MakeStack, Stack

AUTH = """
from langgraph_sdk import Auth
from rules import allowed

auth = Auth()


@auth.authenticate
async def authenticate(authorization):
    if not allowed(authorization):
        raise Auth.exceptions.HTTPException(status_code=401, detail="not you")
    return authorization


@auth.on
async def anything(ctx, value):
    return None
"""
RULES = "def allowed(who):\n    return who == {who!r}\n"
APP = """
import os
from contextlib import asynccontextmanager
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

HERE = Path(__file__).parent


def note(what):
    with (HERE / "lifespan.log").open("a") as file:
        file.write(f"{{what}} {word}\\n")


@asynccontextmanager
async def lifespan(app):
    note("up")
    yield
    note("down")


async def said(request):
    return JSONResponse(["{word}", os.environ.get("WORD_OF_RELOAD")])


app = Starlette(lifespan=lifespan, routes=[Route("/said", said)])
"""


ENCRYPTION = "from langgraph_sdk import Encryption\n\nencryption = Encryption()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("langlog_backbone.project.imports._given", {})
    before, variables = set(sys.modules), dict(os.environ)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    for name in set(os.environ) - set(variables):
        del os.environ[name]


def write(folder: Path, **files: str) -> frozenset[Path]:
    collected = set()
    for name, text in files.items():
        path = folder / (".env" if name == "env" else f"{name}.py")
        path.write_text(text)
        collected.add(path.resolve())
    return frozenset(collected)


def project(folder: Path, **more: object) -> Path:
    file = folder / "langgraph.json"
    config = {
        "graphs": {"echo": "./echo.py:graph"},
        "auth": {"path": "./auth.py:auth"},
        "http": {"app": "./web.py:app"},
        "encryption": {"path": "./secrecy.py:encryption"},
    }
    file.write_text(json.dumps({**config, "env": ".env", **more}))
    return file


async def loaded_again(stack: Stack, paths: frozenset[Path]) -> list[str]:
    """Reload like `langlog dev`; return the events that the gateway logs."""
    now = read_project(stack.backbone.settings.project)
    with structlog.testing.capture_logs() as said:
        variables = prepare_process(now)
        await stack.gateway.reload(now, paths, all_of_it=variables)
    return [line["event"] for line in said if line["event"].startswith("gateway.re")]


async def admitted(stack: Stack, *who: str) -> list[str]:
    collected = []
    for each in who:
        code, _ = await stack.call("POST", "/threads/search", {}, headers={"authorization": each})
        assert code in (200, 401)
        collected += [each] if code == 200 else []
    return collected


async def test_what_the_author_mends_is_in_force_and_what_is_broken_leaves_the_old(
    make_stack: MakeStack, folder: Path
) -> None:
    write(folder, secrecy=ENCRYPTION)
    write(
        folder, auth=AUTH, rules=RULES.format(who="alice"), web=APP.format(word="before"), env="WORD_OF_RELOAD=first\n"
    )
    file = project(folder)
    async with make_stack(project=file) as stack:
        assert await admitted(stack, "alice", "bob") == ["alice"]
        assert await stack.call("GET", "/said") == (200, ["before", "first"])

        # a module that the handlers import
        assert await loaded_again(stack, write(folder, rules=RULES.format(who="bob12"))) == ["gateway.reloaded"]
        assert await admitted(stack, "alice", "bob12") == ["bob12"]

        # one that does not load changes nothing, and is loaded when it is mended, by whichever file
        assert await loaded_again(stack, write(folder, rules="def allowed(:\n")) == ["gateway.reload_failed"]
        assert await admitted(stack, "alice", "bob12") == ["bob12"]
        assert await loaded_again(stack, write(folder, rules="from helper import allowed\n")) == [
            "gateway.reload_failed"
        ]
        assert await loaded_again(stack, write(folder, helper=RULES.format(who="carol"))) == ["gateway.reloaded"]
        assert await admitted(stack, "bob12", "carol") == ["carol"]

        # the application and its lifespan
        assert await loaded_again(stack, write(folder, web=APP.format(word="after!"))) == ["gateway.reloaded"]
        assert await stack.call("GET", "/said") == (200, ["after!", "first"])
        broken = APP.format(word="broken").replace('note("up")', 'raise OSError("no database")')
        assert await loaded_again(stack, write(folder, web=broken)) == ["gateway.reload_failed"]
        assert await stack.call("GET", "/said") == (200, ["after!", "first"])
        write(folder, web=APP.format(word="after!"))

        # variables
        assert await loaded_again(stack, write(folder, env="WORD_OF_RELOAD=second\n")) == ["gateway.reloaded"]
        assert await stack.call("GET", "/said") == (200, ["after!", "second"])
        assert await loaded_again(stack, write(folder, env="")) == ["gateway.reloaded"]
        assert await stack.call("GET", "/said") == (200, ["after!", None])

        # encryption handlers
        before = stack.gateway._core.code.encryption_contexts
        assert await loaded_again(stack, write(folder, secrecy=ENCRYPTION + "# mended\n")) == ["gateway.reloaded"]
        assert stack.gateway._core.code.encryption_contexts not in (None, before)

        # files that the gateway has nothing of
        assert await loaded_again(stack, write(folder, echo="graph = None\n")) == []

        # sections that are read at the start
        project(folder, store={"ttl": {"default_ttl": 5}})
        assert await loaded_again(stack, frozenset({file.resolve()})) == ["gateway.restart_needed"]
        project(folder)
    lifespans = (folder / "lifespan.log").read_text().splitlines()
    assert sorted(lifespans) == sorted(
        [*["up before"] * 3, *["down before"] * 3, *["up after!"] * 4, *["down after!"] * 4]
    )


def test_variables_of_the_project_change_with_it_and_never_those_of_the_shell(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_SHELL", "shell")
    file = project(folder, env={"OF_SHELL": "project", "OWN_OF_RELOAD": "1"})
    assert prepare_process(read_project(file))
    assert not prepare_process(read_project(file))
    assert (os.environ["OF_SHELL"], os.environ["OWN_OF_RELOAD"]) == ("shell", "1")
    project(folder, env={"OWN_OF_RELOAD": "2"})
    assert prepare_process(read_project(file))
    assert os.environ["OWN_OF_RELOAD"] == "2"
    project(folder, env={})
    assert prepare_process(read_project(file))
    assert os.environ["OF_SHELL"] == "shell" and "OWN_OF_RELOAD" not in os.environ
