"""Services import a project while their event loop runs. LangGraph's server does so in a thread without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SERVICE = """
import asyncio, os, signal, sys
from pathlib import Path
from langlog_backbone.process.ending import Ending
from langlog_backbone.project.config import read_project
from langlog_backbone.project.imports import load_object

async def serve(config, reference):
    loop, task, ending = asyncio.get_running_loop(), asyncio.current_task(), Ending(600)
    ending.listen()
    asyncio.set_event_loop(loop)  # as it is after another import
    loaded = load_object(read_project(Path(config)), "http.app", reference)
    assert asyncio.get_running_loop() is asyncio.get_event_loop() is loop
    assert asyncio.current_task() is task
    assert await asyncio.create_task(asyncio.sleep(0, 1)) == 1
    if Path(config).name != "signalled.json":
        os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        await ending.requested.wait()
    return loaded

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.install()
print(asyncio.run(serve(*sys.argv[2:])))
"""
RUNS = "import asyncio\n\nasync def tools():\n    await asyncio.sleep(0.01)\n    return 'tools'\n\napp = asyncio.run(tools())\n"
OWN_LOOP = RUNS.replace("asyncio.run(", "asyncio.new_event_loop().run_until_complete(")
SETS_LOOP = (
    "import asyncio\n\nasync def tools():\n    return 'tools'\n\nloop = asyncio.new_event_loop()\nasyncio.set_event_loop(loop)\n"
    "app = loop.run_until_complete(tools())\nloop.close()\n"
)
SIGNALLED = RUNS.replace(
    "await asyncio.sleep", "os.kill(os.getpid(), signal.SIGTERM)\n    await asyncio.sleep"
).replace("import asyncio", "import asyncio, os, signal")
LISTENS = RUNS.replace("await", "asyncio.get_running_loop().add_signal_handler(15, print, 'taken')\n    await")
NEST_ASYNCIO = """
import asyncio

def apply():
    loop = asyncio.get_event_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise ValueError(f"Can't patch loop of type {type(loop)}")
"""
"""As far as it goes on uvloop."""
NEEDS_LOOP = "import asyncio\n\nassert asyncio.get_running_loop().is_running()\napp = 'tools'\n"


def load(folder: Path, loop: str, reference: str, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    config = folder / ("signalled.json" if SIGNALLED in files.values() else "langgraph.json")
    config.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, "dependencies": ["."]}))
    return subprocess.run(
        [sys.executable, "-P", "-c", SERVICE, loop, str(config), reference], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "text",
    [RUNS, OWN_LOOP, SETS_LOOP, NEEDS_LOOP, SIGNALLED, LISTENS],
    ids=["run", "own_loop", "sets_loop", "needs_loop", "signalled", "listens"],
)
def test_a_module_may_run_a_loop_or_need_the_running_one(text: str, loop: str, tmp_path: Path) -> None:
    done = load(tmp_path, loop, "./app.py:app", {"app.py": text})
    assert done.stdout == "tools\n", done.stderr


@pytest.mark.parametrize(
    ("reference", "files"),
    [
        (
            "./src/bot/app.py:app",
            {"src/bot/__init__.py": "", "src/bot/app.py": "from .tools import app\n", "src/bot/tools.py": RUNS},
        ),
        ("./src/bot/app.py:app", {"src/bot/__init__.py": NEEDS_LOOP, "src/bot/app.py": "from . import app\n"}),
        ("bot.app:app", {"bot/__init__.py": RUNS, "bot/app.py": "from bot import app\n"}),
    ],
    ids=["package", "package_needs_loop", "dotted"],
)
def test_so_may_what_it_imports(reference: str, files: dict[str, str], tmp_path: Path) -> None:
    done = load(tmp_path, "uvloop", reference, files)
    assert done.stdout == "tools\n", done.stderr


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_module_may_make_loops_reentrant(loop: str, tmp_path: Path) -> None:
    files = {"nest_asyncio.py": NEST_ASYNCIO, "app.py": f"import nest_asyncio\nnest_asyncio.apply()\n{RUNS}"}
    done = load(tmp_path, loop, "./app.py:app", files)
    assert done.stdout == "tools\n", done.stderr


def test_an_error_of_the_module_is_told_once(tmp_path: Path) -> None:
    done = load(tmp_path, "uvloop", "./app.py:app", {"app.py": "print('executed')\nraise RuntimeError('no tools')\n"})
    assert done.stdout == "executed\n"
    assert "RuntimeError: no tools" in done.stderr
