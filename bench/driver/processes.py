"""Costs of the whole stack: CPU time and memory of langlog's processes, Postgres, Redis and the broker.

The embedded Postgres leaves its parent's process tree, so processes are also found by the data folder in their command
line. The time of an ended process is added to its parent's.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import psutil

PARTS = ("langlog", "postgres", "redis", "kafka")


class Stack:
    """The processes behind one server, or behind services that were started one by one (``others``: their process ids)."""

    def __init__(self, root: int, data: Path, broker_port: int | None = None, others: Sequence[int] = ()) -> None:
        self.root = root
        """Process id of langlog's main process."""
        self._root = psutil.Process(root)
        self.data = data
        self._data = str(data.resolve())
        self._others = [psutil.Process(pid) for pid in others]
        self._broker = None if broker_port is None else psutil.Process(_listener(broker_port))

    def processes(self) -> dict[int, tuple[str, psutil.Process]]:
        """Return pid -> part and process, as of now."""
        roots = [self._root, *self._others]
        for process in psutil.process_iter(["cmdline"]):
            if any(self._data in word for word in process.info["cmdline"] or []):
                roots.append(process)
        if self._broker is not None:
            roots.append(self._broker)
        by_pid: dict[int, tuple[str, psutil.Process]] = {}
        for root in roots:
            try:
                for process in (root, *root.children(recursive=True)):
                    by_pid[process.pid] = (_part(process.name()), process)
            except psutil.NoSuchProcess:
                continue
        return by_pid

    def cpu_s(self) -> dict[str, float]:
        """Return CPU seconds used so far, by part."""
        spent: dict[str, float] = defaultdict(float)
        for part, process in self.processes().values():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent[part] += times.user + times.system + times.children_user + times.children_system
        return spent

    def memory_mb(self) -> dict[str, tuple[float, float]]:
        """Return resident and proportional (shared pages divided among those who share them) megabytes, by part."""
        resident: dict[str, float] = defaultdict(float)
        proportional: dict[str, float] = defaultdict(float)
        for part, process in self.processes().values():
            try:
                info = process.memory_full_info()
            except psutil.Error:
                continue
            resident[part] += info.rss / 1e6
            proportional[part] += info.pss / 1e6
        return {part: (resident[part], proportional[part]) for part in resident}


class Meter:
    """Measures CPU seconds and wall clock from its creation."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = stack.cpu_s()
        self._start = time.perf_counter()

    def read(self) -> tuple[float, dict[str, float]]:
        """Return the seconds passed, and the CPU seconds used by each part."""
        passed = time.perf_counter() - self._start
        now = self._stack.cpu_s()
        return passed, {part: now[part] - self._before.get(part, 0.0) for part in now}


def _part(name: str) -> str:
    if "postgres" in name:
        return "postgres"
    if "redis" in name or "valkey" in name:
        return "redis"
    return "kafka" if "java" in name else "langlog"


def _listener(port: int) -> int:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            return int(connection.pid)
    raise RuntimeError(f"nobody on this machine listens on port {port}")
