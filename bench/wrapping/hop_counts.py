"""Counts hops in every Python process of a server: see `bench.hops`.

A counter is eight bytes of a file that is mapped into memory, so that another process can read it at any moment and nothing has to be
reported at the end. Modules are wrapped once they have been imported.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SLOTS = 512


class Counters:
    """Names in one file, a line each, and their figures in another."""

    def __init__(self, folder: str) -> None:
        path = Path(folder) / f"{os.getpid()}"
        figures = path.with_suffix(".figures")
        figures.write_bytes(bytes(8 * SLOTS))
        self._file = figures.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 8 * SLOTS)
        self._names = path.with_suffix(".names").open("a", buffering=1)
        self._slots: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            slot = self._slots.get(name)
            if slot is None:
                slot = self._slots[name] = len(self._slots)
                self._names.write(name + "\n")
            (before,) = struct.unpack_from("<q", self._map, 8 * slot)
            struct.pack_into("<q", self._map, 8 * slot, before + count)


def _wrap(owner: Any, name: str, note: Callable[..., None]) -> None:
    """Call ``note`` with the arguments of each call."""
    wrapped = getattr(owner, name)

    @functools.wraps(wrapped)
    def call(*args: Any, **kwargs: Any) -> Any:
        note(*args, **kwargs)
        return wrapped(*args, **kwargs)

    setattr(owner, name, call)


def _sqlite_writer(module: Any, counters: Counters) -> None:
    def commit(_: Any, group: Sequence[Any]) -> None:
        counters.add("log: commits, each with one fsync")
        counters.add("log: appends", len(group))
        for append in group:
            for record in append.records:
                counters.add(f"record: {record.headers.get('ce_type', '')}")

    _wrap(module.Writer, "_append", commit)
    _wrap(module.Writer, "_mark", lambda *_: counters.add("log: commits of positions"))


def _sqlite_log(module: Any, counters: Counters) -> None:
    _wrap(module.SqliteLog, "_woken", lambda *_: counters.add("log: reads after another process's commit"))
    _wrap(module.SqliteLog, "in_thread", lambda *_: counters.add("log: reads in the reading thread"))


def _kafka_log(module: Any, counters: Counters) -> None:
    def append(_: Any, records: Sequence[Any]) -> None:
        counters.add("log: appends")
        for record in records:
            counters.add(f"record: {record.headers.get('ce_type', '')}")

    _wrap(module.KafkaLog, "append", append)


def _kafka_client(module: Any, counters: Counters) -> None:
    def sent(_: Any, node: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        counters.add(f"kafka: {type(request).__name__.partition('_')[0]}")

    _wrap(module.AIOKafkaClient, "send", sent)


def _redis(module: Any, counters: Counters) -> None:
    def send(_: Any, command: tuple[Any, ...], future: Any, **__: Any) -> None:
        counters.add(f"redis: {command[0]}{'' if future is None else ', awaited'}")

    def flush(connection: Any) -> None:
        if connection._out:  # noqa: SLF001 - ours
            counters.add("redis: sends")

    _wrap(module.RedisConnection, "_send", send)
    _wrap(module.RedisConnection, "_flush", flush)
    _wrap(module.RedisConnection, "data_received", lambda *_: counters.add("redis: receipts"))


def _postgres(module: Any, counters: Counters) -> None:
    made = module.Connection.__init__

    def count(query: Any) -> None:
        counters.add("postgres: " + " ".join(query.query.split())[:70])

    @functools.wraps(made)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.add_query_logger(count)

    module.Connection.__init__ = init


def _loops(module: Any, counters: Counters) -> None:
    _wrap(module.Loop, "call_soon_threadsafe", lambda *_, **__: counters.add("loop: hand-overs from another thread"))
    _wrap(module.Loop, "create_task", lambda *_, **__: counters.add("loop: tasks"))


WRAPPED: dict[str, Callable[[Any, Counters], None]] = {
    "langlog_backbone.log.sqlite.writer": _sqlite_writer,
    "langlog_backbone.log.sqlite.sqlite_log": _sqlite_log,
    "langlog_backbone.log.kafka.kafka_log": _kafka_log,
    "langlog_backbone.redis.connection": _redis,
    "aiokafka.client": _kafka_client,
    "asyncpg.connection": _postgres,
    "uvloop": _loops,
}


def wrapped(folder: str) -> dict[str, Callable[[Any], None]]:
    """Return what counts the hops of a module, by the module's name, into files of this process in the folder."""
    counters = Counters(folder)
    return {name: lambda module, wrap=wrap: wrap(module, counters) for name, wrap in WRAPPED.items()}
