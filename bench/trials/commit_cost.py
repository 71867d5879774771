"""``python -m bench.trials.commit_cost``: a commit of the embedded log against the same records in a plain append-only segment file.

``sqlite`` is the log's own statement on a file made by the log's own code: WAL, ``synchronous=FULL``, the index of places, the write lock.
``segment`` is one write of length-prefixed records with a checksum and one ``fdatasync`` under the same lock, with an index of the
records' places in memory; ``segment, zeroed`` writes over zeros that were written before, so that no commit changes the file's size. ``append``
is the whole call on the event loop (`SqliteLog.append`), with compression and two hand-overs between threads.

Records are made before the clock starts, of the sizes that the log stores. Passes come in turns; figures are medians of the passes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import struct
import sys
import tempfile
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import uvloop
from langlog_backbone.log.port import NewRecord
from langlog_backbone.log.sqlite.file import WriteLock, connect, prepare
from langlog_backbone.log.sqlite.sqlite_log import SqliteLog
from langlog_backbone.log.sqlite.writer import _insert as insert  # the statement of the log's writer
from langlog_backbone.process.settings import Settings

TOPIC = "run-events"
PARTITIONS = 32
SMALLEST, LARGEST = 300, 2000
"""Bytes of a stored record."""
ZEROED_BYTES = 128 * 1024 * 1024
WARM_UP = 50
_HEAD = struct.Struct("<IIqIq")
"""Length, checksum, sequence number, partition, offset."""


class Stored(NamedTuple):
    partition: int
    key: str
    value: bytes


class Arm(Protocol):
    def commit(self, records: Sequence[Stored]) -> None:
        """Store the records durably."""
        ...

    def close(self) -> None: ...


class Sqlite:
    def __init__(self, folder: Path) -> None:
        path = folder / "log.sqlite"
        prepare(path, PARTITIONS)
        self._lock = WriteLock(path)
        self._db = connect(path, write=True)
        self._seq = 0
        self._next = [0] * PARTITIONS

    def commit(self, records: Sequence[Stored]) -> None:
        parameters: list[object] = []
        with self._lock:
            for partition, key, value in records:
                self._seq += 1
                parameters += (self._seq, TOPIC, partition, self._next[partition], key, b"", value)
                self._next[partition] += 1
            self._db.executemany(insert(len(records)), (parameters,))

    def close(self) -> None:
        self._db.close()
        self._lock.close()


class Segment:
    """Reads by key and offset would find a record by the index in memory, which a start would rebuild from the whole file."""

    def __init__(self, folder: Path, *, zeroed: bool = False) -> None:
        path = folder / ("zeroed.segment" if zeroed else "plain.segment")
        self._lock = WriteLock(path)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if zeroed:
            for _ in range(ZEROED_BYTES >> 20):
                os.write(self._fd, bytes(1 << 20))
            os.fsync(self._fd)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._at = self._seq = 0
        self._next = [0] * PARTITIONS
        self._places: dict[tuple[int, int], tuple[int, int]] = {}

    def commit(self, records: Sequence[Stored]) -> None:
        chunks: list[bytes] = []
        with self._lock:
            for partition, key, value in records:
                self._seq += 1
                offset = self._next[partition]
                self._next[partition] = offset + 1
                body = key.encode() + value
                chunks += (_HEAD.pack(len(body), zlib.crc32(body), self._seq, partition, offset), body)
                length = _HEAD.size + len(body)
                self._places[partition, offset] = (self._at, length)
                self._at += length
            os.write(self._fd, b"".join(chunks))
            os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
        self._lock.close()


class Figures(NamedTuple):
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Of a commit, this process."""
    given_kb: float
    """Handed to the kernel by writes, for a commit (/proc/self/io, ``wchar``)."""
    pages_kb: float
    """Of the pages that this made dirty (``write_bytes``), in whole folios: more than is sent, where the page cache has large ones."""


ARMS: dict[str, Callable[[Path], Arm]] = {
    "sqlite": Sqlite,
    "segment": Segment,
    "segment, zeroed": lambda folder: Segment(folder, zeroed=True),
}


def made(count: int, chance: random.Random) -> list[Stored]:
    return [
        Stored(chance.randrange(PARTITIONS), str(uuid.uuid4()), chance.randbytes(chance.randint(SMALLEST, LARGEST)))
        for _ in range(count)
    ]


def written() -> tuple[int, int]:
    """Return the bytes that this process has handed to the kernel, and those of the pages that it has made dirty."""
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(io["wchar"]), int(io["write_bytes"])


def summed(latencies: list[float], cpu_s: float, before: tuple[int, int]) -> Figures:
    given, pages = (after - earlier for after, earlier in zip(written(), before, strict=True))
    count, ordered = len(latencies), sorted(latencies)
    return Figures(
        ordered[count // 2] * 1000,
        ordered[int(count * 0.99)] * 1000,
        cpu_s * 1000 / count,
        given / 1000 / count,
        pages / 1000 / count,
    )


def one_pass(arm: Arm, records: int, commits: int, chance: random.Random) -> Figures:
    work = [made(records, chance) for _ in range(commits)]
    latencies: list[float] = []
    cpu, before = time.thread_time(), written()
    for each in work:
        began = time.perf_counter()
        arm.commit(each)
        latencies.append(time.perf_counter() - began)
    return summed(latencies, time.thread_time() - cpu, before)


async def appends(path: Path, records: int, commits: int, chance: random.Random) -> Figures:
    """Measure the same through the port: one caller. Values are random, so compression does its work in vain."""
    log = SqliteLog(path, Settings(partitions=PARTITIONS))
    await log.start()
    work = [
        [NewRecord(TOPIC, each.key, each.value, {"ce_type": "run.started.v1"}) for each in made(records, chance)]
        for _ in range(WARM_UP + commits)
    ]
    for each in work[:WARM_UP]:
        await log.append(each)
    latencies: list[float] = []
    cpu, before = time.process_time(), written()
    for each in work[WARM_UP:]:
        began = time.perf_counter()
        await log.append(each)
        latencies.append(time.perf_counter() - began)
    figures = summed(latencies, time.process_time() - cpu, before)
    await log.stop()
    return figures


def beside(arm: Arm, commits: int, chance: random.Random) -> float:
    """Return the median milliseconds of a commit of one record while another thread never releases the interpreter by itself."""
    going = True

    def busy() -> None:
        while going:
            pass

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        return one_pass(arm, 1, commits, chance).p50_ms
    finally:
        going = False
        thread.join()


def middle(passes: list[Figures]) -> Figures:
    return Figures(*map(statistics.median, zip(*passes, strict=True)))


def line(name: str, figures: Figures) -> str:
    return (
        f"  {name:16} p50 {figures.p50_ms:6.3f} ms  p99 {figures.p99_ms:7.3f} ms  CPU {figures.cpu_ms:6.3f} ms  "
        f"given {figures.given_kb:6.1f} kB  dirty pages {figures.pages_kb:6.1f} kB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.trials.commit_cost", description=__doc__)
    parser.add_argument("--records", nargs="+", type=int, default=[1, 4, 32], help="of a commit")
    parser.add_argument("--commits", type=int, default=300, help="of a pass")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, "append"], default=[*ARMS, "append"])
    parser.add_argument("--busy", type=int, default=40, help="commits beside a busy thread; 0: none")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the temporary one")
    args = parser.parse_args()
    chance = random.Random(17)
    with tempfile.TemporaryDirectory(prefix="langlog-commit-", dir=args.folder) as folder:
        arms = {name: ARMS[name](Path(folder)) for name in args.arms if name in ARMS}
        for arm in arms.values():
            one_pass(arm, 1, WARM_UP, chance)
        for records in args.records:
            passes: dict[str, list[Figures]] = {name: [] for name in args.arms}
            for turn in range(args.turns):
                for name in args.arms if turn % 2 else args.arms[::-1]:
                    if name in arms:
                        passes[name].append(one_pass(arms[name], records, args.commits, chance))
                    else:
                        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                            path = Path(folder) / "append.sqlite"
                            passes[name].append(runner.run(appends(path, records, args.commits, chance)))
            print(f"{records} record(s) a commit, load {os.getloadavg()[0]:.1f}:")
            for name, each in passes.items():
                print(line(name, middle(each)), flush=True)
        for name, arm in arms.items():
            if args.busy:
                print(
                    f"beside a busy thread, 1 record: {name:16} p50 {beside(arm, args.busy, chance):6.1f} ms",
                    flush=True,
                )
            arm.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
