"""Every command and sample of the documentation, executed against one server, which the tutorial starts."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client

from tests.stack.server import Process, free_port

from .around import AROUND
from .blocks import DOCS, ROOT, Block, blocks, pages
from .checks import shell

TUTORIAL = DOCS / "tutorial" / "first-hour.md"
ELSEWHERE = {ROOT / "README.md": "tests/packaging/test_first_hour.py"}
"""Pages whose commands another test carries out."""
PAGES = [page for page in pages() if page not in ELSEWHERE]
LIMIT_S = 240.0
ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):2024")
OTHER_ADDRESS = "127.0.0.1:2123"
"""Address of a second server, on pages about two."""

CHANGING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\d\.\d+"), "TIME"),
    (re.compile(r"\b[0-9a-f]{16,}\b"), "ID"),
    (re.compile(r"\d[\d,]*(?:\.\d+)?"), "0"),
    (re.compile(r"\s+"), " "),
)
"""Parts of programs' output that differ between executions."""


class Server(Process):
    """``langlog dev`` as the tutorial starts it."""

    def __init__(self, folder: Path, data: str = ".langlog") -> None:
        self.project = folder
        self.other: Server | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config, at = str(folder / "langgraph.json"), str(folder / data)
        super().__init__(
            f"docs{data}", ["dev", "-c", config, "--data-dir", at, "--port", str(self.port)], folder.parent
        )

    def here(self, text: str) -> str:
        """A text of a page with the address of this server in place of the usual one, and of the other where there is one."""
        if self.other is not None:
            text = text.replace(OTHER_ADDRESS, f"127.0.0.1:{self.other.port}")
        return ADDRESS.sub(f"127.0.0.1:{self.port}", text)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tutorial") / "refunds"
    folder.mkdir()
    up = Server(folder)
    write_files(blocks(TUTORIAL), folder, up)
    up.start()
    try:
        yield up
    finally:
        up.stop()


@pytest.fixture
def other(page: Path, server: Server) -> Iterator[None]:
    """A second server with data of its own, for a page that copies from one to the other."""
    if OTHER_ADDRESS not in page.read_text():
        yield
        return
    server.other = Server(server.project, ".other")
    server.other.start()
    try:
        ids = converse(server.other)
        client = get_sync_client(url=server.other.url)
        client.store.put_item(["users", "u1"], "tea", {"text": "green"})
        client.assistants.create("agent", name="strict", context={"limit": 10})
        yield
        there, here = (get_sync_client(url=x) for x in (server.other.url, server.url))
        for thread in (ids["THREAD"], ids["WAITING"]):
            said = [[m["content"] for m in x.threads.get(thread)["values"]["messages"]] for x in (there, here)]
            assert said[0] == said[1] and len(said[0]) > 1
            assert here.threads.get_state(thread)["next"] == there.threads.get_state(thread)["next"]
        assert here.store.get_item(["users", "u1"], key="tea")["value"] == {"text": "green"}
        assert [x["context"] for x in here.assistants.search() if x["name"] == "strict"] == [{"limit": 10}]
    finally:
        server.other.stop()
        server.other = None


@pytest.fixture(scope="module")
def known(server: Server) -> dict[str, str]:
    """Variables that pages may use."""
    return converse(server)


def converse(server: Server) -> dict[str, str]:
    """A thread that has ended and its last run, and a thread that waits for a person."""
    client = get_sync_client(url=server.url)
    ended, waits = client.threads.create(), client.threads.create()
    for thread, order in ((ended, "7"), (waits, "8")):
        message = {"role": "user", "content": f"please refund order {order}"}
        client.runs.wait(thread["thread_id"], "agent", input={"messages": [message]})
    run = client.runs.create(ended["thread_id"], "agent", command={"resume": "yes"})
    client.runs.join(ended["thread_id"], run["run_id"])
    return {"THREAD": ended["thread_id"], "RUN": run["run_id"], "WAITING": waits["thread_id"]}


def write_files(results: list[Block], folder: Path, server: Server) -> None:
    for block in results:
        if block.title is not None:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(server.here(block.text))


class Terminal:
    """A shell whose variables stay from one block to the next."""

    def __init__(self, server: Server, folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        self._state = folder / ".variables"
        self._env = server.env | variables | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LANGLOG_DATA_DIR": str(server.project / ".langlog"),
            "LANGLOG_PROJECT": str(server.project / "langgraph.json"),
            "LANGLOG_URL": server.url,
            "PYTHONPATH": os.pathsep.join([str(server.project), server.env["PYTHONPATH"]]),
            "LOG_JSON": "false",
        }  # fmt: skip

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        saved = shlex.quote(str(self._state))
        whole = f"[ -e {saved} ] && . {saved}\nset -a -e -o pipefail\n{script}\ndeclare -px > {saved}\n"
        whole = f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{whole}"  # what a page follows in the background
        return subprocess.run(
            ["bash", "-c", whole],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )


def shape(text: str) -> str:
    """A line without what differs from one time to the next."""
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return text.strip()


def missing_line(shown: str, printed: str) -> str | None:
    """Return the first line that a page shows and the program has not printed, in this order; ``…`` matches any text."""
    lines = [shape(line) for line in printed.splitlines()]
    at = 0
    for line in map(shape, shown.splitlines()):
        if line in ("", "…"):
            continue
        wanted = re.compile(".*".join(map(re.escape, line.split("…"))))
        at = next((i for i in range(at, len(lines)) if wanted.fullmatch(lines[i])), -1) + 1
        if at == 0:
            return line
    return None


def modules(page_blocks: list[Block]) -> list[str]:
    """Files of Python that no command of the page runs: they are imported."""
    commands = "".join(block.text for block in page_blocks if block.language in ("sh", "console"))
    files = [x.title for x in page_blocks if x.language == "python" and x.title and x.says("shown") is None]
    return [x.removesuffix(".py") for x in files if x not in commands and not x.startswith(("conftest", "test_"))]


def carry_out(block: Block, terminal: Terminal, server: Server) -> None:
    expected = int(block.says("exit") or 0)
    if block.language == "python":
        around = block.says("with")
        namespace = {"URL": server.url, "__name__": "__main__"}
        run_python(server.here(AROUND[around] if around else "") + server.here(block.text), str(block), namespace)
    elif block.language == "sh":
        done = terminal.run(server.here(block.text))
        assert done.returncode == expected, f"{block}: {done.stdout}{done.stderr}"
    elif block.language == "console":
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            done = terminal.run(server.here(command))
            assert done.returncode == expected, f"{block}: {command}: {done.stdout}{done.stderr}"
            line = missing_line(shown, done.stdout + done.stderr)
            assert line is None, f"{block}: {command} does not print {line!r} but\n{done.stdout}{done.stderr}"


def run_python(code: str, name: str, namespace: dict[str, Any]) -> None:
    """A sample, which may await at its top level."""
    compiled = compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if compiled.co_flags & inspect.CO_COROUTINE:

        async def sample() -> None:
            await eval(compiled, namespace)

        asyncio.run(sample())
    else:
        exec(compiled, namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_sample_of_the_page_works(
    page: Path, server: Server, other: None, known: dict[str, str], tmp_path: Path
) -> None:
    page_blocks = blocks(page)
    folder = server.project if page == TUTORIAL else tmp_path
    write_files(page_blocks, folder, server)
    terminal = Terminal(server, folder, {} if page == TUTORIAL else known)
    for name in modules(page_blocks):
        done = terminal.run(f"python -c 'import {name}'")
        assert done.returncode == 0, f"{page.name}: {name}.py: {done.stderr}"
    for block in page_blocks:
        if block.title is None and block.says("skip") is None and block.says("shown") is None and block.how != "served":
            carry_out(block, terminal, server)


def test_the_tutorial_starts_the_server() -> None:
    (start,) = (block for block in blocks(TUTORIAL) if block.how == "served")
    assert shell(start) == "langlog dev\n"
