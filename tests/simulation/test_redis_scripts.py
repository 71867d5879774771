"""The Redis in memory against a real one: the same commands and scripts, drawn at random, and after each the same answer and the same data.

Keys are few, so that they meet. Leases are as many thousand seconds long or past as there were commands before: no two of them change
places because one server was slower than the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from langlog_backbone.embedded.servers import EmbeddedRedis

from tests.simulation.stand_ins.memory_redis import SCRIPTS, RedisServer, script_text

SEEDS = 12
COMMANDS = 400
KEPT_MS = 600_000
"""For how long a task that is done is remembered: longer than a test takes."""

WORKERS = ("w1", "w2", "w3")
TASKS = tuple(f"r{n}:{attempt}" for n in range(4) for attempt in (1, 2))


class Both:
    """Carries out each command on both."""

    def __init__(self, connection: Any, prefix: str, draw: random.Random) -> None:
        self._connection, self._prefix, self._draw = connection, prefix, draw
        self._memory = RedisServer(lambda: 1_000_000_000.0)
        self.count = 0

    def key(self, *names: str) -> str:
        return self._prefix + ":".join(names)

    def call(self, *command: str) -> Any:
        self.count += 1
        real = self._real(*command)
        ours = _as_answered(self._memory.run(None, [part.encode() for part in command]))
        assert ours == real, f"{self.count}: {command[:1]} {command[2:]}"
        return real

    def script(self, name: str, keys: list[str], *arguments: Any) -> Any:
        return self.call("EVAL", script_text(name), str(len(keys)), *keys, *map(str, arguments))

    def _real(self, *command: str) -> Any:
        self._connection.send_command(*command)
        return self._connection.read_response()

    def assert_same_data(self) -> None:
        memory, names = self._memory, sorted(self._real("KEYS", f"{self._prefix}*"))
        kept: list[dict[bytes, Any]] = [
            memory.lists,
            memory.strings,
            {k: v for k, v in memory.sorted.items() if v},
            memory.streams,
        ]
        assert sorted({name for part in kept for name in part}) == names
        for name in names:
            key = name.decode()
            match self._real("TYPE", key):
                case b"list":
                    assert self._real("LRANGE", key, "0", "-1") == memory.lists[name]
                case b"string":
                    assert self._real("GET", key) == memory.strings[name]
                case b"zset":
                    ours = sorted(memory.sorted[name], key=lambda member: memory.sorted[name][member])
                    assert self._real("ZRANGE", key, "0", "-1") == ours
                case b"stream":
                    assert self._real("XLEN", key) == len(memory.streams[name])
            assert (self._real("PTTL", key) > 0) == (name in memory.expires), name

    # what services do, drawn

    def act(self) -> None:
        acts: list[Callable[[], Any]] = [
            self.push, self.push, self.take, self.take, self.claim, self.claim, self.release, self.withdraw, self.give_back,
            self.lease, self.lease, self.reap, self.hold_again, self.plain, self.note,
        ]  # fmt: skip
        self._draw.choice(acts)()

    def push(self) -> None:
        tasks = self._draw.sample(TASKS, self._draw.randint(1, 3))
        pairs = [part for task in tasks for part in (task, f"body of {task}")]
        self.script("hot_queue._PUSH", [self.key("queue"), self.key("task", "")], *pairs)

    def take(self) -> None:
        self.call("LMOVE", self.key("queue"), self.held(), "RIGHT", "LEFT")

    def claim(self) -> None:
        first = self._draw.choice(("", self._draw.choice(TASKS)))
        keys = [self.key("queue"), self.held(), self.key("task", "")]
        self.script("hot_queue._CLAIM", keys, first, self._draw.randrange(4))

    def release(self) -> None:
        task = self._draw.choice(TASKS)
        self.script("hot_queue._RELEASE", [self.held(), self.key("task", task)], task, KEPT_MS)

    def withdraw(self) -> None:
        task = self._draw.choice(TASKS)
        self.script("hot_queue._WITHDRAW", [self.key("queue"), self.key("task", task)], task, KEPT_MS)

    def give_back(self) -> None:
        worker, kept = self._draw.choice(WORKERS), self._draw.sample(TASKS, self._draw.randrange(4))
        keys = [self.key("queue"), self.key("held", worker), self.key("leases")]
        self.script("hot_queue._GIVE_BACK", keys, self._draw.choice(("", worker)), self.key("task", ""), *kept)

    def lease(self) -> None:
        length_ms = self._draw.choice((-1, 1)) * (self.count + 1) * 1_000_000
        self.script(
            "hot_queue._LEASE", [self.key("leases")], self._draw.choice(WORKERS), length_ms, self._draw.randrange(2)
        )

    def reap(self) -> None:
        self.script("hot_queue._REAP", [self.key("leases"), self.key("held", ""), self.key("task", "")], KEPT_MS)

    def hold_again(self) -> None:
        task = self._draw.choice(TASKS)
        self.call("SET", self.key("task", task), f"body of {task}")
        self.call("RPUSH", self.held(), task)

    def note(self) -> None:
        thread = self._draw.choice(("t1", "t2"))
        stream = self.key("frames", thread)
        added = self._draw.choice((-1, 10, 10))
        if added > 0:
            self._real("XADD", stream, "*", "f", "x")
            self._memory.run(None, [b"XADD", stream.encode(), b"*", b"f", b"x"])
        index = [self.key("frame-index", name) for name in ("order", "sizes", "expiry", "counts")]
        limits = [1_000_000, 0, 16, "", 0]  # no stream is dropped, or stored anew, as in worlds
        arguments = [self.key("frames", ""), thread, added, 0, self._draw.randrange(2), KEPT_MS, 2 * KEPT_MS, *limits]
        text = script_text("kept_frames._NOTE")
        self._real("EVAL", text, "4", *index, *map(str, arguments))
        command = ["EVAL", text, "4", *index, *map(str, arguments)]
        self._memory.run(None, [part.encode() for part in command])
        self._real("DEL", *index)  # the bound on kept frames has no stand-in

    def plain(self) -> None:
        task, held, queue = self._draw.choice(TASKS), self.held(), self.key("queue")
        body = self.key("task", task)
        commands = [
            ("LRANGE", queue, "0", "-1"), ("LRANGE", held, "0", "1"), ("LLEN", queue), ("LPOS", queue, task), ("GET", body),
            ("MGET", body, self.key("task", "none")), ("ZRANGE", self.key("leases"), "0", "-1"), ("ZCARD", self.key("leases")),
            ("EXISTS", body, held), ("DEL", body), ("LREM", held, "1", task), ("LREM", held, "0", task), ("LPUSH", held, task),
            ("SET", body, "new", "NX"), ("SET", body, "new", "NX", "PX", str(KEPT_MS)), ("SET", body, "new", "EX", "600"),
            ("MSET", body, "one", self.key("task", "other"), "two"),
        ]  # fmt: skip
        self.call(*self._draw.choice(commands))

    def held(self) -> str:
        return self.key("held", self._draw.choice(WORKERS))


def _as_answered(value: Any) -> Any:
    match value:
        case str():
            return value.encode()
        case list():
            return [_as_answered(part) for part in value]
        case _:
            return value


@contextmanager
def _connected(uri: str) -> Iterator[Any]:
    client = redis.Redis.from_url(uri)
    connection = client.connection_pool.get_connection()
    try:
        yield connection
    finally:
        client.connection_pool.release(connection)
        client.close()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_redis_in_memory_does_what_redis_does(redis_server: EmbeddedRedis, seed: int) -> None:
    with _connected(redis_server.uri) as connection:
        both = Both(connection, f"scripts-{seed}:", random.Random(seed))
        for _ in range(COMMANDS):
            both.act()
            both.assert_same_data()


def test_every_script_is_compared() -> None:
    source = Path(__file__).read_text()
    assert [name for name in SCRIPTS if f'"{name}"' not in source] == []
