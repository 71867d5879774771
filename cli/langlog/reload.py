"""Reload of graphs when the project's files change.

A service like the others, on the same loop; the watching itself is inotify (or its like) in a native thread. Folders
that change all the time or hold other people's code are not watched at all: a data folder inside the project would
otherwise wake us with every write of Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import watchfiles

logger = structlog.get_logger(__name__)

IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})
"""Folders, besides all whose name begins with a dot."""
DEBOUNCE_MS = 300
"""An editor's or a checkout's burst of changes is one reload."""
STEP_MS = 150
"""How long it must be quiet before a burst counts as over; also how often the native watcher looks up."""


def matters(path: Path, root: Path) -> bool:
    """Whether a change of this file changes what a graph is: code, langgraph.json and other project JSON, env files."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        return False
    if any(part in IGNORED or part.startswith(".") for part in parts[:-1]):
        return False
    return path.suffix == ".py" or (len(parts) == 1 and path.suffix == ".json") or path.name.startswith(".env")


def folders_of(root: Path) -> list[Path]:
    """The folders right below ``root`` that are watched with all they hold."""
    return sorted(x for x in root.iterdir() if x.is_dir() and x.name not in IGNORED and not x.name.startswith("."))


class ReloadService:
    """Calls ``reload`` after changes below the project's folder."""

    name = "reload"

    def __init__(self, root: Path, reload: Callable[[], Awaitable[None]]) -> None:
        self._root = root.resolve()
        self._reload = reload
        self._changed = asyncio.Event()
        self._paths: set[Path] = set()

    async def start(self) -> None:
        """Nothing to get ready: watching begins with `serve`."""

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._act())

    async def drain(self) -> None:
        """Nothing to bring to an end."""

    async def stop(self) -> None:
        """Nothing to let go of: cancelling `serve` ends the watchers."""

    async def healthy(self) -> bool:
        return True

    async def _act(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            paths, self._paths = self._paths, set()
            logger.info("graphs.reload", files=sorted(str(x.relative_to(self._root)) for x in paths))
            await self._reload()

    async def _watch(self) -> None:
        """Watch the project's folder itself and each folder in it; begin anew when one comes or goes."""
        while True:
            folders = folders_of(self._root)
            below = asyncio.create_task(self._watch_below(folders)) if folders else None
            try:
                async for changes in watchfiles.awatch(
                    self._root, recursive=False, watch_filter=None, debounce=DEBOUNCE_MS, step=STEP_MS
                ):
                    self._note(changes)
                    if folders_of(self._root) != folders:
                        break
            finally:
                if below is not None:
                    below.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await below

    async def _watch_below(self, folders: list[Path]) -> None:
        async for changes in watchfiles.awatch(*folders, watch_filter=None, debounce=DEBOUNCE_MS, step=STEP_MS):
            self._note(changes)

    def _note(self, changes: set[tuple[watchfiles.Change, str]]) -> None:
        found = {path for _, name in changes if matters(path := Path(name), self._root)}
        if found:
            self._paths |= found
            self._changed.set()
