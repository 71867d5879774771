"""Reload of graphs, application and auth handlers when the project's files change.

A service like the others, on the same loop; the watching itself is inotify (or its like) in a native thread. Folders
that change all the time or hold other people's code are not watched at all: a data folder inside the project would
otherwise wake us with every write of Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
import watchfiles
from langlog_backbone.process.service import StartError
from langlog_backbone.project.language import JAVASCRIPT

if TYPE_CHECKING:
    from langlog_executor.worker.pool_messages import Retiring

logger = structlog.get_logger(__name__)

IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})
"""Ignored folders, besides all whose name begins with a dot."""
CODE = JAVASCRIPT | {".py", ".css"}
"""Ends of the names of files that graphs and the components of `ui` are made of."""
DEBOUNCE_MS = 300
"""Milliseconds within which changes of an editor or a checkout are combined into one reload."""
IN_FORCE = "the graphs that were loaded before stay in force"
STEP_MS = 150
"""Milliseconds without changes after which a burst ends; also the polling interval of the native watcher."""


def watched(folder: Path) -> bool:
    """Return whether a folder of this name may contain code of the project."""
    return folder.name not in IGNORED and not folder.name.startswith(".")


def matters(path: Path, root: Path) -> bool:
    """Return whether a change of this file may change a graph: code, langgraph.json and other project JSON, env files."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        return False
    if not all(watched(Path(part)) for part in parts[:-1]):
        return False
    return path.suffix in CODE or (len(parts) == 1 and path.suffix == ".json") or path.name.startswith(".env")


def folders_of(root: Path, data_dir: Path) -> list[Path]:
    """Return the folders directly below ``root`` that are watched recursively."""
    return sorted(x for x in root.iterdir() if watched(x) and x != data_dir and x.is_dir())


class Reloaded(NamedTuple):
    """Result of a reload. ``left``: runs that still have the old code. ``but``: what else stays as it was, None if nothing does."""

    left: Retiring
    but: str | None = None


class ReloadService:
    """Calls ``reload`` with the files that changed below the project's folder.

    Its result names what is outdated although the graphs were loaded. When it raises StartError, the former code continues to run.
    """

    name = "reload"

    def __init__(self, root: Path, data_dir: Path, reload: Callable[[frozenset[Path]], Awaitable[Reloaded]]) -> None:
        self._root = root.resolve()
        self._data_dir = data_dir.resolve()
        self._reload = reload
        self._changed = asyncio.Event()
        self._paths: set[Path] = set()
        self.watching = asyncio.Event()
        """Set while every change is noticed."""

    async def start(self) -> None:
        """Do nothing: watching begins with `serve`."""

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._act())

    async def drain(self) -> None:
        """Do nothing: no work is under way."""

    async def stop(self) -> None:
        """Do nothing: cancelling `serve` ends the watchers."""

    async def not_ready(self) -> str | None:
        return None

    async def _act(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            paths, self._paths = self._paths, set()
            files = sorted(str(x.relative_to(self._root)) for x in paths)
            try:
                done = await self._reload(frozenset(paths))
            except StartError as error:
                logger.error("graphs.reload_failed", files=files, error=str(error), effect=IN_FORCE)
            except (
                Exception
            ) as error:  # a partly written file may be anything: the server continues with its current code
                reason = f"{type(error).__name__}: {error}"
                logger.error("graphs.reload_failed", files=files, error=reason, effect=IN_FORCE, exc_info=error)
            else:
                _print_reloaded(files, done)

    async def _watch(self) -> None:
        """Watch the project's folder itself and each folder in it; start over when a folder is added or removed."""
        while True:
            folders = folders_of(self._root, self._data_dir)
            own = asyncio.create_task(self._follow_root(folders))
            below = asyncio.create_task(self._follow_below(folders))
            try:
                await asyncio.sleep(0)  # both have taken their first step, in which the watch begins
                if folders_of(self._root, self._data_dir) == folders:
                    self.watching.set()
                    await own
            finally:
                for task in (own, below):
                    task.cancel()
                await asyncio.gather(own, below, return_exceptions=True)

    async def _follow_root(self, folders: list[Path]) -> None:
        """Watch until a folder is added or removed."""
        async with contextlib.aclosing(_changes([self._root], recursive=False)) as batches:
            async for batch in batches:
                self._note(batch)
                if folders_of(self._root, self._data_dir) != folders:
                    self.watching.clear()
                    return

    async def _follow_below(self, folders: list[Path]) -> None:
        if folders:
            async with contextlib.aclosing(_changes(folders, recursive=True)) as batches:
                async for batch in batches:
                    self._note(batch)

    def _note(self, paths: set[Path]) -> None:
        changed = {path for path in paths if matters(path, self._root)}
        if changed:
            self._paths |= changed
            self._changed.set()


def _print_reloaded(files: list[str], done: Reloaded) -> None:
    """Print the reload: new runs have the new code at once; the named runs have the old one until then."""
    about: dict[str, Any] = {"files": files}
    if done.left.count:
        about["old_code_runs"] = [str(run) for run in done.left.runs]
        if done.left.count > len(done.left.runs):
            about["old_code_runs"].append(f"and {done.left.count - len(done.left.runs)} more")
    if done.but is None:
        logger.info("graphs.reloaded", **about)
    else:
        logger.warning("graphs.reloaded", **about, but=done.but)


async def _changes(folders: list[Path], *, recursive: bool) -> AsyncGenerator[set[Path]]:
    options: Any = {"recursive": recursive, "watch_filter": None, "debounce": DEBOUNCE_MS, "step": STEP_MS}
    async with contextlib.aclosing(watchfiles.awatch(*folders, **options)) as batches:
        async for batch in batches:
            yield {file for change, name in batch for file in _files(change, Path(name))}


def _files(change: watchfiles.Change, path: Path) -> Iterable[Path]:
    """Return the path; for a new folder also its current files, since nothing watched it while that came."""
    if change is watchfiles.Change.added and watched(path) and path.is_dir():
        return (file for file in path.rglob("*") if file.suffix in CODE)
    return (path,)
