"""``python -m bench.dictionary FILE``: makes a dictionary for small records and frames of what a mixed load leaves in the log.

Of a released dictionary nothing may change: write a better one under the next number (`langlog_backbone.values.compression`).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

import msgspec
import zstandard
from langlog_backbone.embedded.servers import LOG_FILE
from langlog_backbone.log import Record, open_log
from langlog_backbone.log.sqlite.rows import plain_body
from langlog_backbone.process.settings import Settings
from langlog_backbone.values.compression import LARGE_BYTES, SMALL_LEVEL
from langlog_schemas import commands, events

from bench.driver.connection import Connection
from bench.driver.load import Server, closed_loop, wait_run
from bench.driver.processes import Stack
from bench.scenarios.growth import KINDS
from tests.stack.server import LiveServer

BYTES = 16_384
"""Size of the dictionary in bytes; twice as many made records no smaller."""
RUNS = 150
"""Number of runs of each kind."""
PROJECT = Path(__file__).parent / "project" / "langgraph.json"
TOPICS = [commands.TOPIC, *events.FOLDED_TOPICS]


async def _load(server: Server) -> None:
    """Apply a typical load: runs of each kind, threads, items, assistants."""
    for kind in KINDS:
        await closed_loop(server, kind.name, "run", 8, kind.call, total=RUNS // kind.runs)
    await closed_loop(server, "", "run", 1, wait_run, total=RUNS)
    connection = await Connection.open(server.host, server.port)
    for n in range(RUNS):
        thread = (await connection.post_json("/threads", {"metadata": {"owner": f"user-{n}"}}))["thread_id"]
        body = {"assistant_id": "counter", "input": {}, "metadata": {"turn": n}, "stream_mode": ["updates", "messages"]}
        await connection.post_json(f"/threads/{thread}/runs/wait", body)
        await connection.post_json(f"/threads/{thread}/state", {"values": {}, "as_node": "__start__"})
        item = {"namespace": ["memories", f"user-{n}"], "key": f"note-{n}", "value": {"text": f"Note {n}"}}
        await connection.send("PUT", "/store/items", json.dumps(item).encode())
        await connection.post_json("/assistants", {"graph_id": "chat", "name": f"Assistant {n}"})
    connection.close()


async def _records(log_file: Path) -> list[Record]:
    log = open_log(Settings(log_uri=f"sqlite://{log_file}"))
    await log.start()
    try:
        ends = [end for topic in TOPICS for end in await log.end_offsets(topic)]
        reader = log.reader(TOPICS)
        records: list[Record] = []
        while len(records) < sum(ends):
            records += await reader.read()
        await reader.stop()
        return records
    finally:
        await log.stop()


def _samples(records: list[Record]) -> list[bytes]:
    """Return samples in the form in which they are compressed: headers with values, values alone if sealed, and batches of frames."""
    samples: list[bytes] = []
    for record in records:
        if len(record.value) < LARGE_BYTES:
            samples.append(plain_body(record.key, record.headers, record.value))
        if record.headers["ce_type"].startswith("langlog.run.frames."):
            samples.append(msgspec.msgpack.decode(record.value)["frames"])
    random.Random(1).shuffle(samples)
    return [sample for sample in samples if len(sample) < LARGE_BYTES]


def main() -> None:
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="langlog-dictionary-") as folder:
        live = LiveServer(PROJECT, Path(folder))
        with live.up(verified=False):
            asyncio.run(_load(Server("127.0.0.1", live.port, Stack(live.pid, live.data), 0)))
        samples = _samples(asyncio.run(_records(live.data / LOG_FILE)))
    made = zstandard.train_dictionary(BYTES, samples, level=SMALL_LEVEL, dict_id=int(target.stem.rpartition("-")[2]))
    target.write_bytes(made.as_bytes())
    print(f"{target}: {len(made.as_bytes())} bytes, of {len(samples)} samples of {sum(map(len, samples))} bytes")


if __name__ == "__main__":
    main()
