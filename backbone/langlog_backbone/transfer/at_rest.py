"""Checks that no process writes to a log that is copied, and keeps it so.

An embedded log is held by the locks that its users need: that of the data folder, and that of the deciders' group. On Kafka nothing
can be held; a server that runs is in the deciders' group.

Concurrency: one holder. Death: the kernel gives the locks back.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from ..embedded.servers import data_folder_lock
from ..log import DECIDERS
from ..log.kafka.copy_target import members_of
from ..process.service import StartError
from ..process.settings import Settings
from .targets import KAFKA, SQLITE

FOLLOW_PAUSE_S = 1.0
"""Seconds between two checks whether the source is at rest, which nothing signals."""


class InUse(StartError):
    """A process may write to the log; the message names it, and the remedy."""


@contextlib.asynccontextmanager
async def at_rest(settings: Settings, log_uri: str, *, follow: bool) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Yield a function that returns whether the log is at rest; from then on it stays so for the duration of the block.

    It raises InUse if the log is in use, unless ``follow``; then it waits a moment and returns False.
    """
    with contextlib.ExitStack() as stack:
        held = False

        async def settled() -> bool:
            nonlocal held
            if held:
                return True
            try:
                if log_uri.startswith(KAFKA):
                    await _refuse_members(settings, log_uri.removeprefix(KAFKA))
                else:
                    _hold(stack, settings, Path(log_uri.removeprefix(SQLITE)))
            except StartError as error:
                if not follow:
                    raise InUse(
                        f"{error}: stop what runs on this log, or use --follow, which copies meanwhile and ends once that has stopped"
                    ) from None
                await asyncio.sleep(FOLLOW_PAUSE_S)
                return False
            held = True
            return True

        yield settled


@contextlib.asynccontextmanager
async def held(settings: Settings, log_uri: str) -> AsyncIterator[None]:
    """Hold a log that is written as a whole, for the duration of the block. Raises InUse where something else may write to it."""
    with contextlib.ExitStack() as stack:
        try:
            if log_uri.startswith(KAFKA):
                await _refuse_members(settings, log_uri.removeprefix(KAFKA))
            else:
                _hold(stack, settings, Path(log_uri.removeprefix(SQLITE)))
        except StartError as error:
            raise InUse(f"{error}: stop what runs on the target") from None
        yield


async def _refuse_members(settings: Settings, bootstrap: str) -> None:
    members = await members_of(bootstrap, settings, DECIDERS)
    if members:
        raise StartError(f"{members} deciders run on the log kafka://{bootstrap}")


def _hold(stack: contextlib.ExitStack, settings: Settings, path: Path) -> None:
    with contextlib.ExitStack() as taken:
        if (path.parent / "lock").exists():
            taken.enter_context(data_folder_lock(path.parent))
        taken.enter_context(_group_lock(path.with_name(f"{path.name}.{settings.topic_prefix}{DECIDERS}.lock")))
        stack.push(taken.pop_all())


@contextlib.contextmanager
def _group_lock(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"a decider runs on the log beside {path}") from None
        yield
    finally:
        os.close(fd)
