"""A process that uses a log, to be killed by tests: ``python -m tests.log.process <settings as JSON> <role> [arguments]``.

append <name> <count> <records a call>   appends until killed (count 0) or done; a line for every call acknowledged
member <group>                           owns what it is given; a line for every change and every record
hold <file>                              holds the write lock of the embedded log, as a writer that is stopped does; a line once it does
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from langlog_backbone.log import Log, NewRecord, TopicPartition, open_log
from langlog_backbone.log.sqlite.file import WriteLock
from langlog_backbone.process.settings import Settings

VALUE_BYTES = 2_000


def say(*words: object) -> None:
    print(*words, flush=True)


async def append(log: Log, name: str, count: int, size: int) -> None:
    number = 0
    while count == 0 or number < count:
        records = [
            NewRecord(
                "commands",
                f"{name}-{(number + i) % 7}",
                f"{name} {number + i} ".encode().ljust(VALUE_BYTES, b"."),
                {"ce_id": f"{name}-{number + i}"},
            )
            for i in range(size)
        ]
        positions = await log.append(records)
        say("acknowledged", *(f"{name}-{number + i}@{p.partition}/{p.offset}" for i, p in enumerate(positions)))
        number += size


class Says:
    async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        say("assigned", len(partitions))
        return {}

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        say("revoked", len(partitions))


async def follow(log: Log, group: str) -> None:
    member = log.member(group, ["commands"], Says())
    while True:
        for record in await member.read():
            say("read", record.headers["ce_id"])


async def hold(file: Path) -> None:
    with WriteLock(file):
        say("held")
        await asyncio.Event().wait()


async def main() -> None:
    log = open_log(Settings(**json.loads(sys.argv[1])))
    await log.start()
    match sys.argv[2]:
        case "append":
            await append(log, sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        case "hold":
            await hold(Path(sys.argv[3]))
        case _:
            await follow(log, sys.argv[3])
    await log.stop()


asyncio.run(main())
