"""A key for each thread, in a Postgres schema of its own: the thread's records cannot be read without it, and it is
destroyed with the thread.

The writer of a thread's first record creates its key. An erased thread keeps a row without a key: what is still written of
it (by a worker that does not know yet) is sealed with a discarded key. Only a record that creates a thread gives it
another key.

Optionally keys are wrapped by a master key (LANGLOG_MASTER_KEY) that is not in Postgres. Of several the first wraps and all unwrap,
so that one can be replaced (`ThreadKeys.rewrap`).

Concurrency: belongs to the event loop that started it. Keys of other processes' threads are cached for reading for
`REMEMBERED_S` at most; for writing they are looked up each time, since a key may be destroyed at any moment.
Death: nothing is lost; a key is in Postgres before a record that needs it is in the log.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from ...postgres.database import connect_pool, load_sql
from ...postgres.ddl import ensure_objects
from ...process.service import StartError
from ...process.settings import Settings
from ...process.unavailable import UNAVAILABLE_ERRORS
from ...time.sources import monotonic, random_bytes, random_hex
from ..port import LogFault, LogUnavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from ...postgres.pool import Pool

POOL_SIZE = 4
REMEMBERED = 20_000
"""Maximum number of keys in memory."""
REMEMBERED_S = 300.0
FORGOTTEN_DAYS = 7
"""Days after which no process writes about an erased thread any more, and its row without a key is deleted."""
NONCE_BYTES = 12
KEY_BYTES = 32
"""AES-256."""
PLAIN_NAME = r"[a-z_][a-z0-9_]*"
MASTER_BYTES = 32
PAGE_KEYS = 1_000
"""Keys that one transaction of a rewrapping changes."""


class ThreadKey(NamedTuple):
    id: str
    cipher: AESGCM


class Rewrapped(NamedTuple):
    done: int
    before: int
    """Number of keys that the first master key wrapped already."""


class ThreadKeys:
    """Creates, caches and wraps keys of threads. Raises LogUnavailable while Postgres is unavailable, LogFault when keys
    cannot be unwrapped."""

    def __init__(self, settings: Settings) -> None:
        if not re.fullmatch(PLAIN_NAME, settings.keys_schema):
            raise LogFault(f"LANGLOG_KEYS_SCHEMA must be a plain identifier, not {settings.keys_schema!r}")
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise LogFault("LANGLOG_ENCRYPTION needs the extra: pip install 'langlog[encryption]'") from None
        self._cipher = AESGCM
        self._settings = settings
        self._sql = statements(settings)
        self._masters = _masters(settings)
        self._pool: asyncpg.Pool | None = None
        self._known: OrderedDict[str, tuple[float, AESGCM | None]] = OrderedDict()
        """Key id -> (time until which the entry is valid, key or None if destroyed)."""
        self._wanted: list[tuple[Collection[str], Collection[str], asyncio.Future[Mapping[str, ThreadKey]]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._pool is not None:
            return
        try:
            # a key that Postgres lost in a crash could not be folded again from the log, and its records not be read any more
            pool = await connect_pool(self._settings, size=POOL_SIZE, synchronous_commit="on")
        except StartError as error:
            raise LogUnavailable(str(error)) from None
        try:
            await ensure_objects(pool, self._settings.keys_schema, self._sql["schema"])
            row = await pool.fetchrow(self._sql["any_key"])
            if row is not None:
                self._opened(row)
        except BaseException:
            await pool.close()
            raise
        self._pool = pool

    async def stop(self) -> None:
        pool, self._pool = self._pool, None
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)
        if pool is not None:
            await pool.close()

    async def for_writing(self, threads: Collection[str], makers: Collection[str]) -> Mapping[str, ThreadKey]:
        """Return the current keys of these threads; ``makers``: threads that a record creates. An erased thread gets a discarded key.

        Callers that arrive during a query share the next one.
        """
        answer: asyncio.Future[Mapping[str, ThreadKey]] = asyncio.get_running_loop().create_future()
        self._wanted.append((threads, makers, answer))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_up())
        return await answer

    async def _look_up(self) -> None:
        while wanted := self._wanted:
            self._wanted = []
            threads = {id for ids, _, _ in wanted for id in ids}
            makers = {id for _, making, _ in wanted for id in making}
            try:
                keys = await self._for_writing(threads, makers)
            except Exception as error:
                for _, _, answer in wanted:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for _, _, answer in wanted:
                if not answer.done():  # its caller was cancelled
                    answer.set_result(keys)

    async def _for_writing(self, threads: Collection[str], makers: Collection[str]) -> Mapping[str, ThreadKey]:
        keys = await self._of_threads(threads)
        missing = [id for id in threads if id not in keys or (keys[id] is None and id in makers)]
        if missing:
            made = [(id, random_hex(16), random_bytes(KEY_BYTES)) for id in missing]
            columns = (
                [id for id, _, _ in made],
                [key_id for _, key_id, _ in made],
                [self._wrapped(key_id, key) for _, key_id, key in made],
            )
            rows = await self._query("fetch", self._sql["make"], *columns, list(makers), bool(self._masters))
            ours = {row["thread_id"] for row in rows}
            for id, key_id, key in made:
                if id in ours:
                    fresh = keys[id] = ThreadKey(key_id, self._cipher(key))
                    self._remember(key_id, fresh.cipher)
            if theirs := [id for id in missing if id not in ours]:  # made by another meanwhile, or erased
                keys |= await self._of_threads(theirs)
        return {id: keys.get(id) or self._throwaway() for id in threads}

    async def for_reading(self, ids: Collection[str]) -> Mapping[str, AESGCM | None]:
        """Return the keys of these ids; None: destroyed."""
        now = monotonic()
        unknown = [id for id in ids if self._known.get(id, (0.0, None))[0] < now]
        if unknown:
            rows = {row["key_id"]: row for row in await self._query("fetch", self._sql["by_id"], unknown)}
            for id in unknown:
                self._remember(id, self._opened(rows[id]).cipher if id in rows else None)
        return {id: self._known[id][1] for id in ids}

    async def rewrap(self, progress: Callable[[int, int], None]) -> Rewrapped:
        """Wrap every key by the first master key. Keys that are made or destroyed meanwhile stay what they are.

        Safe to be interrupted and to be done again. ``progress``: how many keys have been looked at, and how many there
        are. Raises LogUnavailable, LogFault.
        """
        if not self._masters:
            raise LogFault("LANGLOG_MASTER_KEY is not set: there is nothing to wrap keys with")
        done = before = 0
        last = ""
        total = (await self._query("fetch", self._sql["count"]))[0]["keys"]
        while rows := await self._query("fetch", self._sql["page"], last, PAGE_KEYS):
            changed: list[tuple[str, str, bytes]] = []
            for row in rows:
                key, by = self._unwrapped(row)
                if by != 0:
                    changed.append((row["thread_id"], row["key_id"], self._wrapped(row["key_id"], key)))
            if changed:
                await self._query("execute", self._sql["rewrap"], *map(list, zip(*changed, strict=True)))
            done, before, last = done + len(changed), before + len(rows) - len(changed), rows[-1]["thread_id"]
            progress(done + before, max(total, done + before))
        return Rewrapped(done, before)

    async def ids_of(self, thread_id: str) -> set[str]:
        """Return the id of the thread's key, if it has one."""
        return {key.id for key in (await self._of_threads([thread_id])).values() if key is not None}

    async def _of_threads(self, threads: Collection[str]) -> dict[str, ThreadKey | None]:
        keys: dict[str, ThreadKey | None] = {}
        for row in await self._query("fetch", self._sql["of_threads"], list(threads)):
            if row["key"] is None:
                keys[row["thread_id"]] = None
                continue
            known = self._known.get(row["key_id"], (0.0, None))[1]  # unwrapping costs more than looking
            key = keys[row["thread_id"]] = self._opened(row) if known is None else ThreadKey(row["key_id"], known)
            self._remember(key.id, key.cipher)
        return keys

    async def _query(self, how: str, sql: str, *args: object) -> list[asyncpg.Record]:
        try:
            if self._pool is None:
                await self.start()
            rows: list[asyncpg.Record] = await getattr(self._pool, how)(sql, *args)
        except UNAVAILABLE_ERRORS as error:
            raise LogUnavailable(f"the keys of threads cannot be reached: {error}") from None
        return rows

    def _remember(self, id: str, cipher: AESGCM | None) -> None:
        self._known[id] = monotonic() + REMEMBERED_S, cipher
        self._known.move_to_end(id)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _throwaway(self) -> ThreadKey:
        return ThreadKey(random_hex(16), self._cipher(random_bytes(KEY_BYTES)))

    def _wrapped(self, id: str, key: bytes) -> bytes:
        if not self._masters:
            return key
        nonce = random_bytes(NONCE_BYTES)
        return nonce + self._masters[0].encrypt(nonce, key, id.encode())

    def _unwrapped(self, row: asyncpg.Record) -> tuple[bytes, int | None]:
        """Return a key and the master key that wrapped it; None: not wrapped. Raises LogFault."""
        from cryptography.exceptions import InvalidTag

        key: bytes = row["key"]
        if not row["wrapped"]:
            return key, None
        if not self._masters:
            raise LogFault("keys of threads are wrapped: LANGLOG_MASTER_KEY is needed")
        for n, master in enumerate(self._masters):
            try:
                return master.decrypt(key[:NONCE_BYTES], key[NONCE_BYTES:], row["key_id"].encode()), n
            except InvalidTag:
                continue
        raise LogFault("LANGLOG_MASTER_KEY is not the one that keys of threads were wrapped with")

    def _opened(self, row: asyncpg.Record) -> ThreadKey:
        return ThreadKey(row["key_id"], self._cipher(self._unwrapped(row)[0]))


async def check_readable(pool: Pool, settings: Settings) -> None:
    """Raises StartError where threads are encrypted and LANGLOG_ENCRYPTION is off: services would park all that they cannot read."""
    if settings.encryption != "off" or not re.fullmatch(PLAIN_NAME, settings.keys_schema):
        return
    if await pool.fetchval("SELECT to_regclass($1)", f"{settings.keys_schema}.thread_keys") is None:
        return
    if await pool.fetchval(statements(settings)["has_keys"]):
        raise StartError(
            f"{settings.keys_schema} holds keys of encrypted threads: set LANGLOG_ENCRYPTION to read or on (or, if they are of another "
            "langlog, LANGLOG_KEYS_SCHEMA to a schema of your own)"
        )


def statements(settings: Settings) -> dict[str, str]:
    """Return the SQL of this module, for the configured schema."""
    templates = load_sql("langlog_backbone", "thread_keys.sql")
    return {name: text.replace("{schema}", settings.keys_schema) for name, text in templates.items()}


def master_keys(settings: Settings) -> list[bytes]:
    """Return the keys in LANGLOG_MASTER_KEY, of which the first wraps. Raises LogFault for a text that is not a key."""
    keys = []
    for text in filter(None, (part.strip() for part in settings.master_key.split(","))):
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != MASTER_BYTES:
            raise LogFault("LANGLOG_MASTER_KEY must be 32 bytes in base64 (openssl rand -base64 32)")
        keys.append(key)
    return keys


def _masters(settings: Settings) -> list[AESGCM]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return [AESGCM(key) for key in master_keys(settings)]
