"""Reload of graphs when the project's files change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from langlog.services.reload import Reloaded, ReloadService, matters
from langlog_executor.worker.pool_messages import Retiring

WAIT_S = 60.0


class Reloads:
    """Counts, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[None] = asyncio.Queue()
        self.watching = asyncio.Event()

    async def __call__(self, paths: frozenset[Path]) -> Reloaded:
        self.seen.put_nowait(None)
        return Reloaded(Retiring())

    async def next(self) -> None:
        await asyncio.wait_for(self.seen.get(), WAIT_S)
        await asyncio.wait_for(self.watching.wait(), WAIT_S)


@pytest_asyncio.fixture
async def reloads(tmp_path: Path) -> AsyncIterator[Reloads]:
    (tmp_path / "package").mkdir()
    (tmp_path / ".langlog").mkdir()
    (tmp_path / "data").mkdir()
    result = Reloads()
    service = ReloadService(tmp_path, tmp_path / "data", result)
    result.watching = service.watching
    await service.start()
    task = asyncio.create_task(service.serve())
    await asyncio.wait_for(service.watching.wait(), WAIT_S)
    yield result
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await service.stop()


async def test_a_changed_file_reloads(reloads: Reloads, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("x = 1")
    await reloads.next()
    (tmp_path / "agent.py").write_text("x = 2")
    await reloads.next()


async def test_a_file_deep_in_a_package_reloads(reloads: Reloads, tmp_path: Path) -> None:
    (tmp_path / "package" / "deep").mkdir()
    (tmp_path / "package" / "deep" / "tool.py").write_text("x = 1")
    await reloads.next()


async def test_a_folder_that_came_later_is_watched_too(reloads: Reloads, tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "tool.py").write_text("x = 1")
    (tmp_path / "agent.py").write_text("x = 1")
    await reloads.next()
    (tmp_path / "later" / "tool.py").write_text("x = 2")
    await reloads.next()


async def test_what_langlog_itself_writes_does_not_reload(reloads: Reloads, tmp_path: Path) -> None:
    (tmp_path / ".langlog" / "log.py").write_text("")
    (tmp_path / "data" / "log.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "agent.py").write_text("x = 1")
    await reloads.next()
    assert reloads.seen.empty()


@pytest.mark.parametrize(
    "name", ["agent.py", "a/b/c.py", "src/agent.ts", "a/b.mjs", "langgraph.json", ".env", ".env.local", "a/.env"]
)
def test_code_configuration_and_environment_matter(name: str) -> None:
    assert matters(Path("/project") / name, Path("/project"))


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "data/rows.json",
        ".venv/lib/x.py",
        "node_modules/x.py",
        "node_modules/x/index.js",
        "dist/agent.js",
        "a/__pycache__/x.py",
        ".langlog/x.json",
        "x.pyc",
    ],
)
def test_other_files_do_not_matter(name: str) -> None:
    assert not matters(Path("/project") / name, Path("/project"))
