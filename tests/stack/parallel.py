"""`pytest -n auto`: what workers share, and what goes to one worker as a whole.

A unit is what one worker runs in one go: the tests that share a server. That is a folder (and one of the logs) where the folder's
server lives for the whole session, else a file (and one of the logs). Long units go first, so that no worker ends late.

One Kafka broker serves all workers; the process that hands out the tests starts it while the workers collect. Each worker has a
Postgres and a Redis of its own, as it needs them.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.stack.kafka_broker import SHARED, KafkaBroker, KafkaMissing

WORKERS_PER_CORE = 2
"""Tests wait for half of their time: for leases, for processes that start, for what they do with a fault."""
MOST_WORKERS = 8
"""Each of them has servers of its own; with more, the longest units decide when all is done."""
WHOLE_FOLDERS = (
    "chart",
    "clients",
    "console",
    "e2e",
    "faults",
    "integrations",
    "protocol",
    "rebuild",
    "regressions",
    "sdk",
    "streams",
)
"""All files of such a folder share a server, or wait for the same program to be built."""
LONG = (
    "faults",
    "e2e",
    "outage",
    "upgrade",
    "images",
    "chart",
    "rebuild",
    "contract",
    "loss",
    "protocol",
    "executor",
    "regressions",
    "sdk",
    "dead",
    "erasure",
    "clocks",
)
"""Folders whose units go first, in this order; the others follow by their number of tests."""

CHANGING = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d|[0-9a-f]{8}-[0-9a-f]{4}-")

BROKER: pytest.StashKey[KafkaBroker] = pytest.StashKey()


def unit(nodeid: str) -> str:
    """Return the name of the group of tests that one worker runs."""
    path, _, name = nodeid.partition("::")
    folder = path.split("/")[1]
    log = "kafka" if "kafka" in name.partition("[")[2] else "sqlite"
    return f"{folder if folder in WHOLE_FOLDERS else path} {log}"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A moment or a random id in its name would call a test differently in each worker, which then share no tests."""
    return argname if isinstance(val, str) and CHANGING.search(val) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each unit in one piece, long units first; the same in every worker."""
    if not hasattr(config, "workerinput"):
        return
    sizes = Counter(unit(item.nodeid) for item in items)

    def place(item: pytest.Item) -> tuple[int, int, str]:
        name, folder = unit(item.nodeid), item.nodeid.split("/")[1]
        return LONG.index(folder) if folder in LONG else len(LONG), -sizes[name], name

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return min(MOST_WORKERS, max(2, int(len(os.sched_getaffinity(0)) * WORKERS_PER_CORE)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False
    return Units(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the broker's address to the worker. Without Kafka each test that needs it reports that itself."""
    config: pytest.Config = node.config
    if BROKER not in config.stash:
        if os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or "not kafka" in config.option.markexpr:
            return
        folder = tempfile.TemporaryDirectory(prefix="langlog-kafka-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        try:
            broker = config.stash[BROKER] = KafkaBroker(Path(folder.name), SHARED)
        except KafkaMissing:
            return
        broker.begin()
        config.add_cleanup(lambda: asyncio.run(broker.stop()))
    node.workerinput["kafka"] = config.stash[BROKER].bootstrap


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """No test begins before the broker is ready."""
    broker = node.config.stash.get(BROKER, None)
    if broker is not None:
        asyncio.run(broker.ready())
