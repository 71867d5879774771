"""README.md, executed: every command in it runs unchanged, in a clone after `make dev` (other pages: tests/docs).

The clone's environment is the tests' own, so nothing is installed; the time of an installation is `bench/first_answer.py`'s subject.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from langgraph_sdk import get_sync_client

from tests.stack.server import SURROUNDINGS, free_port

ROOT = Path(__file__).parents[2]
PAGES = ("README.md",)
LIMIT_S = 240.0
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:make|langlog|python|pip|pipx|uv|uvx|docker|\.venv/bin/\w+|CHAT_MODEL=\S+) [^`]+)`")
SNIPPET = re.compile(r"^```python\n(import asyncio\n.*?)^```", re.MULTILINE | re.DOTALL)

SHOWN_ELSEWHERE = {
    "make dev": "bench/first_answer.py",  # with an install; here without
    "pip install": "tests/packaging/test_distribution.py",
    ".venv/bin/pip install": "tests/packaging/test_distribution.py",
    "pipx install": "tests/packaging/test_distribution.py",
    "uv tool install": "tests/packaging/test_distribution.py",
    "uv pip install": "tests/packaging/test_distribution.py",
    "uv add": "tests/packaging/test_distribution.py",
    "docker compose": "tests/packaging/test_compose.py",
    "langlog dev": "tests/cli/test_dev.py",
    "langlog new": "tests/projects/test_new.py",
    "langlog validate": "tests/projects/test_validate.py",
    "langlog gateway": "tests/packaging/test_compose_services.py",
    "langlog executor": "tests/packaging/test_compose_services.py",
    "langlog projector": "tests/packaging/test_compose_services.py",
    "langlog scheduler": "tests/packaging/test_compose_services.py",
    "CHAT_MODEL=openai:gpt-4.1-mini make": "tests/packaging/test_example_model.py",
}
"""Beginnings of commands that another test carries out: they install, need a container engine, or start a server of their own."""


class Clone(NamedTuple):
    folder: Path
    port: int
    env: dict[str, str]

    def run(self, command: str, said: str = "", *, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
        """A line of a page, in a shell in the clone."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            input=said,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone in which `make dev` runs, in the shell of a user of providers."""
    folder = tmp_path_factory.mktemp("clone") / "langlog"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in files.split("\0"):
        if name.startswith(("examples/", "Makefile", "pyproject.toml", "constraints.txt")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    (folder / ".venv" / ".installed").touch()
    port = free_port()
    keys = {"OPENAI_API_KEY": "sk-of-somebody", "ANTHROPIC_API_KEY": "sk-of-somebody"}
    env = SURROUNDINGS | keys | {"PORT": str(port), "PYTHONUNBUFFERED": "1"}
    dev = subprocess.Popen(
        ["make", "dev"],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert dev.stdout is not None
    up, lines = threading.Event(), list[str]()

    def read() -> None:
        assert dev.stdout is not None
        for line in dev.stdout:
            lines.append(line)
            if "langlog listens on" in line:
                up.set()
        up.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert up.wait(LIMIT_S)
        assert dev.poll() is None, "".join(lines)
        yield Clone(folder, port, env)
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        dev.wait(LIMIT_S)
        reader.join(LIMIT_S)


def commands(page: str) -> list[str]:
    """Lines of shell blocks, and commands in the text that stand alone: with an argument or more."""
    text = (ROOT / page).read_text()
    collected = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    collected += INLINE.findall(BLOCK.sub("", text))
    return [line.strip() for line in collected if line.strip() and not line.strip().startswith("#")]


def carried_out(clone: Clone, page: str) -> Iterator[tuple[str, subprocess.CompletedProcess[str]]]:
    """Return the commands that this test runs, and their output. A page that activates the environment has it on the path."""
    activated = False
    for line in commands(page):
        if line.startswith(". .venv/bin/activate"):
            activated = True
            continue
        if any(line.startswith(start) for start in SHOWN_ELSEWHERE):
            continue
        words = shlex.split(line, comments=True)
        activated |= words[0] == "python"  # a page that says nothing of it is read by somebody who has one
        path = f"PATH={shlex.quote(str(clone.folder / '.venv' / 'bin'))}:$PATH; " if activated else ""
        if words[:2] in (["make", "talk"], ["python", "examples/chat/talk.py"]):
            url = f" http://127.0.0.1:{clone.port}" if words[0] == "python" else ""  # the pages have the usual port
            yield line, clone.run(f"{path}{line.partition('#')[0]}{url}", "hello\n")
        elif "tail" in words and "--no-follow" not in words and "jq" not in words:
            # it follows the log until somebody stops it
            begin = f"timeout --signal=INT --preserve-status 8 {line.partition('#')[0]} --from-start"
            if words[0] == "make":
                begin = f"timeout --signal=INT 8 {line.partition('#')[0]}"
            yield line, clone.run(path + begin)
        elif words[0] == "make":
            yield line, clone.run(f"make --dry-run {words[1]}")  # checks of developers, which CI carries out
        elif words[0] == "langlog":
            yield line, clone.run(path + line.replace(" | jq .data.error", "").replace("--type", "--no-follow --type"))
        else:
            pytest.fail(f"{page}: nothing carries out {line!r}: run it here, or name the test that does")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_does_what_it_says(clone: Clone, page: str) -> None:
    assert clone.run("make talk", "hello\n").returncode == 0
    (thread, *_) = get_sync_client(url=f"http://127.0.0.1:{clone.port}").threads.search()
    clone.env["THREAD"] = thread["thread_id"]
    for line, done in carried_out(clone, page):
        assert "command not found" not in done.stderr, line
        assert "Traceback" not in done.stderr, f"{line}: {done.stderr}"
        if line.startswith("make") and "tail" not in line:
            assert done.returncode == 0, f"{line}: {done.stderr}"
        if "talk" in line:
            assert done.returncode == 0, f"{line}: {done.stderr}"
            assert "You said: hello." in done.stdout, line
        elif "$THREAD" in line:
            assert "run.succeeded" in done.stdout, f"{line}: {done.stderr}"
        elif "run.failed" in line:
            assert (done.returncode, done.stdout) == (0, ""), f"{line}: {done.stderr}"
        elif "--no-follow" in line:
            assert done.returncode == 0, f"{line}: {done.stderr}"


def test_make_talk_and_make_tail_work_beside_make_dev(clone: Clone) -> None:
    tail = subprocess.Popen(
        ["make", "tail"], cwd=clone.folder, env=clone.env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert tail.stdout is not None
        said = clone.run("make talk", "tell bob@example.org that lunch is at one\nyes\n\n")
        assert "it wants: send_email {'to': 'bob@example.org', 'text': 'lunch is at one'}" in said.stdout
        assert "Sent to bob@example.org: lunch is at one" in said.stdout
        clone.run("make talk", "hello\n")  # whatever the tail missed before it began
        assert any("run." in line for line in tail.stdout)
    finally:
        os.killpg(tail.pid, signal.SIGKILL)
        tail.wait()


def test_the_snippet_of_the_readme_streams_an_answer(clone: Clone) -> None:
    (code,) = SNIPPET.findall((ROOT / "README.md").read_text())
    assert "http://127.0.0.1:2024" in code
    code = code.replace(":2024", f":{clone.port}")
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "You said: hello." in done.stdout


def test_tests_named_for_commands_exist() -> None:
    for path in SHOWN_ELSEWHERE.values():
        assert (ROOT / path).exists(), path
