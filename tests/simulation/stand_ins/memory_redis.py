"""Redis in memory: the commands and scripts that langlog uses, on the loop's time. It speaks RESP over the world's network, so that
langlog's own connection (`backbone/redis/connection.py`) and all above it are real.

Scripts are translated; a script whose text has changed since is refused (`SCRIPTS` names each by its digest).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from langlog_backbone.redis import hot_queue, kept_frames

from .redis_connections import SAID, Session


class RedisServer:
    """The data, and whoever is connected. ``clock``: the loop's seconds; times of Redis are these."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lists: dict[bytes, list[bytes]] = {}
        self.strings: dict[bytes, bytes] = {}
        self.sorted: dict[bytes, dict[bytes, float]] = {}
        self.hashes: dict[bytes, dict[bytes, int]] = {}
        self.streams: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self.expires: dict[bytes, float] = {}
        self.subscribers: dict[bytes, dict[Session, None]] = {}
        self.sessions: dict[int, Session] = {}
        self.blocked: list[Session] = []
        self._ids = 0
        self._entries = 0
        self.commands = 0
        self.on_push: list[Callable[[bytes, bytes], None]] = []
        """Called with the key and the value of what was pushed to a list."""

    def wipe(self) -> None:
        for kept in (self.lists, self.strings, self.sorted, self.hashes, self.streams, self.expires):
            kept.clear()  # type: ignore[attr-defined]

    def disconnect_all(self) -> None:
        for session in list(self.sessions.values()):
            session.hang_up()

    def number(self) -> int:
        self._ids += 1
        return self._ids

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _all(self) -> Iterable[dict[bytes, Any]]:
        return (self.lists, self.strings, self.sorted, self.hashes, self.streams)

    def _fresh(self, key: bytes) -> None:
        if self.expires and key in self.expires and self.expires[key] <= self._clock():
            self.delete(key)

    def delete(self, key: bytes) -> int:
        gone = [kept.pop(key) for kept in self._all() if key in kept]
        self.expires.pop(key, None)
        return len(gone)

    def run(self, session: Session | None, parts: list[bytes]) -> Any:
        """One command's answer; `LATER` when it blocks."""
        self.commands += 1
        name = parts[0].upper().decode()
        handler = getattr(self, f"do_{name.lower()}", None)
        if handler is None:
            raise NotImplementedError(f"the Redis in memory has no {name}")
        if len(parts) > 1:
            self._fresh(parts[1])
        return handler(session, *parts[1:])

    # strings and keys

    def do_ping(self, session: Session) -> Any:
        return [b"pong", b""] if session.channels else "PONG"

    def do_info(self, session: Any, section: bytes = b"") -> bytes:
        return b"used_memory:1000000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nredis_version:7.0.0\r\n"

    def do_mset(self, session: Any, *pairs: bytes) -> str:
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.strings[key] = value
            self.expires.pop(key, None)
        return "OK"

    def do_mget(self, session: Any, *keys: bytes) -> list[Any]:
        return [self.do_get(session, key) for key in keys]

    def do_get(self, session: Any, key: bytes) -> bytes | None:
        self._fresh(key)
        return self.strings.get(key)

    def do_set(self, session: Any, key: bytes, value: bytes, *options: bytes) -> str | None:
        words = [option.upper() for option in options]
        self._fresh(key)
        if b"NX" in words and key in self.strings:
            return None
        self.strings[key] = value
        self.expires.pop(key, None)
        if b"EX" in words:
            self.expires[key] = self._clock() + int(options[words.index(b"EX") + 1])
        if b"PX" in words:
            self.expires[key] = self._clock() + int(options[words.index(b"PX") + 1]) / 1000
        return "OK"

    def do_del(self, session: Any, *keys: bytes) -> int:
        return sum(self.delete(key) for key in keys)

    do_unlink = do_del

    def do_exists(self, session: Any, *keys: bytes) -> int:
        return sum(any(key in kept for kept in self._all()) for key in keys)

    def do_expire(self, session: Any, key: bytes, seconds: bytes) -> int:
        self.expires[key] = self._clock() + int(seconds)
        return 1

    def do_pexpire(self, session: Any, key: bytes, ms: bytes) -> int:
        self.expires[key] = self._clock() + int(ms) / 1000
        return 1

    # lists

    def do_lpush(self, session: Any, key: bytes, *values: bytes) -> int:
        stored = self.lists.setdefault(key, [])
        for value in values:
            stored.insert(0, value)
            self._pushed(key, value)
        count = len(stored)
        self._feed(key)
        return count

    def do_rpush(self, session: Any, key: bytes, *values: bytes) -> int:
        stored = self.lists.setdefault(key, [])
        for value in values:
            stored.append(value)
            self._pushed(key, value)
        count = len(stored)
        self._feed(key)
        return count

    def _pushed(self, key: bytes, value: bytes) -> None:
        for callback in self.on_push:
            callback(key, value)

    def do_lrange(self, session: Any, key: bytes, first: bytes, last: bytes) -> list[bytes]:
        end = int(last)
        return self.lists.get(key, [])[int(first) : None if end == -1 else end + 1]

    def do_llen(self, session: Any, key: bytes) -> int:
        return len(self.lists.get(key, ()))

    def do_lrem(self, session: Any, key: bytes, count: bytes, value: bytes) -> int:
        stored = self.lists.get(key, [])
        limit = int(count) or len(stored)
        gone = 0
        while gone < limit and value in stored:
            stored.remove(value)
            gone += 1
        if not stored:
            self.lists.pop(key, None)
        return gone

    def do_lpos(self, session: Any, key: bytes, value: bytes) -> int | None:
        stored = self.lists.get(key, [])
        return stored.index(value) if value in stored else None

    def move(self, source: bytes, target: bytes) -> bytes | None:
        """From the right of one list to the left of the other."""
        stored = self.lists.get(source)
        if not stored:
            return None
        value = stored.pop()
        if not stored:
            del self.lists[source]
        self.lists.setdefault(target, []).insert(0, value)
        return value

    def do_lmove(self, session: Any, source: bytes, target: bytes, *_: bytes) -> bytes | None:
        return self.move(source, target)

    def do_blmove(self, session: Session, source: bytes, target: bytes, _a: bytes, _b: bytes, wait_s: bytes) -> Any:
        value = self.move(source, target)
        if value is not None:
            return value
        return session.block(source, lambda: self.move(source, target), float(wait_s))

    def do_brpop(self, session: Session, *keys_and_wait: bytes) -> Any:
        key, wait_s = keys_and_wait[0], float(keys_and_wait[-1])

        def pop() -> list[bytes] | None:
            stored = self.lists.get(key)
            if not stored:
                return None
            value = stored.pop()
            if not stored:
                del self.lists[key]
            return [key, value]

        value = pop()
        return value if value is not None else session.block(key, pop, wait_s)

    def _feed(self, key: bytes) -> None:
        for session in list(self.blocked):
            if session.blocked_on == key:
                session.try_again()

    def do_client(self, session: Session, what: bytes, *arguments: bytes) -> Any:
        if what.upper() == b"ID":
            return session.id
        if what.upper() == b"UNBLOCK":
            other = self.sessions.get(int(arguments[0]))
            return int(other is not None and other.unblock(None))
        return "OK"

    # sorted sets, hashes

    def do_zrange(self, session: Any, key: bytes, first: bytes, last: bytes, *_: bytes) -> list[bytes]:
        members = sorted(self.sorted.get(key, {}).items(), key=lambda item: (item[1], item[0]))
        end = int(last)
        return [member for member, _ in members[int(first) : None if end == -1 else end + 1]]

    def do_zcard(self, session: Any, key: bytes) -> int:
        return len(self.sorted.get(key, ()))

    def do_hmget(self, session: Any, key: bytes, *fields: bytes) -> list[bytes | None]:
        stored = self.hashes.get(key, {})
        return [b"%d" % stored[field] if field in stored else None for field in fields]

    # streams

    def do_xadd(self, session: Any, key: bytes, *arguments: bytes) -> bytes:
        self._entries += 1
        id = b"%d-%d" % (self.now_ms(), self._entries)
        stored = self.streams.setdefault(key, [])
        stored.append((id, arguments[-1]))
        words = [argument.upper() for argument in arguments]
        if b"MAXLEN" in words:
            del stored[: -int(arguments[words.index(b"MAXLEN") + 2])]
        return id

    def do_xrange(self, session: Any, key: bytes, *_: bytes) -> list[Any]:
        return [[id, [b"f", body]] for id, body in self.streams.get(key, ())]

    def do_xrevrange(self, session: Any, key: bytes, end: bytes, start: bytes, *options: bytes) -> list[Any]:
        entries = self.streams.get(key, [])[::-1]
        if end != b"+":
            edge = end.lstrip(b"(")
            ids = [id for id, _ in entries]
            entries = entries[ids.index(edge) + 1 :] if edge in ids else []
        limit = int(options[1]) if options else len(entries)
        return [[id, [b"f", body]] for id, body in entries[:limit]]

    # channels

    def do_publish(self, session: Any, channel: bytes, data: bytes) -> int:
        receivers = list(self.subscribers.get(channel, ()))
        for receiver in receivers:
            receiver.push([b"message", channel, data])
        return len(receivers)

    def do_pubsub(self, session: Any, what: bytes, *channels: bytes) -> list[Any]:
        return [part for channel in channels for part in (channel, len(self.subscribers.get(channel, ())))]

    def do_subscribe(self, session: Session, *channels: bytes) -> Any:
        for channel in channels:
            self.subscribers.setdefault(channel, {})[session] = None
            session.channels.add(channel)
            session.push([b"subscribe", channel, len(session.channels)])
        return SAID

    def do_unsubscribe(self, session: Session, *channels: bytes) -> Any:
        for channel in channels:
            self.subscribers.get(channel, {}).pop(session, None)
            session.channels.discard(channel)
            session.push([b"unsubscribe", channel, len(session.channels)])
        return SAID

    # scripts

    def do_eval(self, session: Any, script: bytes, count: bytes, *arguments: bytes) -> Any:
        return _script(script)(self, list(arguments[: int(count)]), list(arguments[int(count) :]))

    def push(self, keys: list[bytes], argv: list[bytes]) -> int:
        pairs = zip(argv[::2], argv[1::2], strict=True)
        fresh = [id for id, task in pairs if self.do_set(None, keys[1] + id, task, b"NX") is not None]
        for id in fresh:
            self.do_lpush(None, keys[0], id)
        return len(fresh)

    def release(self, keys: list[bytes], argv: list[bytes]) -> None:
        self.do_lrem(None, keys[0], b"1", argv[0])
        self.do_set(None, keys[1], b"", b"PX", argv[1])

    def lease(self, keys: list[bytes], argv: list[bytes]) -> int:
        leases = self.sorted.setdefault(keys[0], {})
        worker, length_ms, fresh = argv
        if fresh == b"0" and worker not in leases:
            return 0
        leases[worker] = self.now_ms() + int(length_ms)
        return 1

    def reap(self, keys: list[bytes], argv: list[bytes]) -> list[bytes]:
        leases, found = self.sorted.get(keys[0], {}), []
        expired = sorted((until, worker) for worker, until in leases.items() if until <= self.now_ms())
        for _, worker in expired:
            held = keys[1] + worker
            for id in self.lists.get(held, ()):
                found.append(id)
                self.do_set(None, keys[2] + id, b"", b"PX", argv[0])
            self.delete(held)
            del leases[worker]
        return found

    def claim(self, keys: list[bytes], argv: list[bytes]) -> list[Any]:
        ids = [argv[0]] if argv[0] else []
        for _ in range(int(argv[1])):
            id = self.move(keys[0], keys[1])
            if id is None:
                break
            ids.append(id)
        return [ids, [self.do_get(None, keys[2] + id) for id in ids]]

    def withdraw(self, keys: list[bytes], argv: list[bytes]) -> int:
        if self.do_lrem(None, keys[0], b"0", argv[0]):
            self.do_set(None, keys[1], b"", b"PX", argv[1])
            return 1
        return 0

    def give_back(self, keys: list[bytes], argv: list[bytes]) -> int:
        kept, given = set(argv[2:]), 0
        for id in list(self.lists.get(keys[1], ())):
            if id not in kept:
                self.do_lrem(None, keys[1], b"0", id)
                if self.do_get(None, argv[1] + id):
                    self.do_rpush(None, keys[0], id)
                    given += 1
        if argv[0]:
            self.delete(keys[1])
            self.sorted.get(keys[2], {}).pop(argv[0], None)
        return given

    def note(self, keys: list[bytes], argv: list[bytes]) -> int:
        """Of the bound on kept frames only that a stream goes with its thread, and expires: worlds are too small for the rest."""
        prefix, thread, added, keep_ms = argv[0], argv[1], int(argv[2]), int(argv[5])
        if thread and added < 0:
            self.delete(prefix + thread)
        elif thread:
            if argv[4] == b"1":
                keep_ms = int(argv[6])
            self.expires[prefix + thread] = self._clock() + keep_ms / 1000
        return 0


Script = Callable[[RedisServer, list[bytes], list[bytes]], Any]
SCRIPTS: dict[str, tuple[str, Script]] = {
    "hot_queue._PUSH": ("5efb7c9a5e7c", RedisServer.push),
    "hot_queue._RELEASE": ("51b2acb4b981", RedisServer.release),
    "hot_queue._LEASE": ("ed9eadc0cdc4", RedisServer.lease),
    "hot_queue._REAP": ("49d2fb359f12", RedisServer.reap),
    "hot_queue._CLAIM": ("e08baf3fa0a7", RedisServer.claim),
    "hot_queue._WITHDRAW": ("4c83f0ea8dab", RedisServer.withdraw),
    "hot_queue._GIVE_BACK": ("f7a916a2ff38", RedisServer.give_back),
    "kept_frames._NOTE": ("aa82b8b10500", RedisServer.note),
}
_known: dict[bytes, Script] = {}


def digest(script: str) -> str:
    return hashlib.sha256(script.encode()).hexdigest()[:12]


def script_text(name: str) -> str:
    module, _, constant = name.partition(".")
    text: str = getattr({"hot_queue": hot_queue, "kept_frames": kept_frames}[module], constant)
    return text


def _script(script: bytes) -> Script:
    if not _known:
        _known.update({script_text(name).encode(): act for name, (_, act) in SCRIPTS.items()})
    found = _known.get(script)
    if found is None:
        raise NotImplementedError(f"the Redis in memory does not know this script: {script[:200]!r}")
    return found
