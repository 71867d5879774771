"""The hot queue: dispatched runs that wait for a worker, and the runs that each worker holds under its lease.

    queue             list of task ids, oldest at the right
    task:<id>         the task (msgpack); empty for a while once it was released, reaped or withdrawn
    held:<worker>     list of task ids that the worker has claimed
    leases            sorted set: worker -> time (server ms) until which it counts as alive
    queries           list of `messages.Query` for any worker

Its content may be lost: the scheduler compares with Postgres and has lost tasks dispatched again. A claim moves the
id in one step (BLMOVE), so no task is ever in neither place while Redis lives. When a worker dies, its
lease runs out, `reap` takes its tasks, and the scheduler appends `run.requeue` for each.

Two deciders may dispatch the same attempt, since a former owner of a partition goes on for a moment: a task that is pushed again is
ignored, whether it waits, is held, or is done. Otherwise two workers would execute one attempt, and nothing tells their records apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from langlog_schemas import messages
from langlog_schemas.messages import Task
from redis import Redis as SyncRedis

from ..process.server_errors import RedisUnavailable
from ..process.settings import Settings
from .blocking import BlockingPipe
from .client import RedisPipe
from .key_kinds import check_kinds

CLAIM_AHEAD = 15
"""Maximum number of further tasks that a claim takes along with the one waited for."""

ANSWER_S = 5.0
"""Seconds, beyond the wait of a claim, until a Redis that does not answer is given up."""

DONE_MS = 60_000
"""Milliseconds for which a task that is done is remembered: several times what a former decider may lag behind."""

_PUSH = """
local fresh = {}
for i = 1, #ARGV, 2 do
  if redis.call('SET', KEYS[2] .. ARGV[i], ARGV[i + 1], 'NX') then fresh[#fresh + 1] = ARGV[i] end
end
for _, id in ipairs(fresh) do redis.call('LPUSH', KEYS[1], id) end
return #fresh
"""
_LEASE = """
local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[3] == '0' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
-- a script that has written may go on writing in a Redis that is full: renewing takes no more memory
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return 1
"""
_REAP = """
local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
local found = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  local held = KEYS[2] .. worker
  for _, id in ipairs(redis.call('LRANGE', held, 0, -1)) do
    found[#found + 1] = id
    redis.call('DEL', KEYS[3] .. id)
    redis.call('SET', KEYS[3] .. id, '', 'PX', ARGV[1])
  end
  redis.call('DEL', held)
  redis.call('ZREM', KEYS[1], worker)
end
return found
"""
_CLAIM = """
local ids, keys = {}, {}
if ARGV[1] ~= '' then ids[1] = ARGV[1] end
for _ = 1, tonumber(ARGV[2]) do
  local id = redis.call('LMOVE', KEYS[1], KEYS[2], 'RIGHT', 'LEFT')
  if not id then break end
  ids[#ids + 1] = id
end
if #ids == 0 then return {ids, ids} end
for i, id in ipairs(ids) do keys[i] = KEYS[3] .. id end
return {ids, redis.call('MGET', unpack(keys))}
"""
_RELEASE = """
redis.call('LREM', KEYS[1], 1, ARGV[1])
-- first, so that a Redis that is full takes the second
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[2], '', 'PX', ARGV[2])
"""
_WITHDRAW = """
if redis.call('LREM', KEYS[1], 0, ARGV[1]) > 0 then redis.call('SET', KEYS[2], '', 'PX', ARGV[2]); return 1 end
return 0
"""


_GIVE_BACK = """
local kept, given = {}, 0
for i = 3, #ARGV do kept[ARGV[i]] = true end
for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if not kept[id] then
    redis.call('LREM', KEYS[2], 0, id)
    if redis.call('STRLEN', ARGV[2] .. id) > 0 then redis.call('RPUSH', KEYS[1], id); given = given + 1 end
  end
end
if ARGV[1] ~= '' then redis.call('DEL', KEYS[2]); redis.call('ZREM', KEYS[3], ARGV[1]) end
return given
"""


ABOUT_LEASES = 3
"""Factor by which a worker's report outlives a lease that is not renewed: operators can see lost workers."""


def renew_blocking(
    client: SyncRedis, prefix: str, worker: str, lease_s: float, *, fresh: bool = False, about: bytes = b""
) -> bool:
    """Renew a lease, like `HotQueue.lease`, from a thread with its own connection: an event loop that is busy must not cost the lease.

    ``about``: an encoded `messages.WorkerInfo`, kept beside the lease for operators; empty: nothing is kept.
    """
    if about:
        client.set(f"{prefix}worker:{worker}", about, px=int(lease_s * ABOUT_LEASES * 1000))
    answer = client.eval(_LEASE, 1, f"{prefix}leases", worker, str(int(lease_s * 1000)), "1" if fresh else "0")
    return bool(answer)


class HotQueue:
    """Both ends of the queue; cheap to make. Claims block on a connection of their own."""

    def __init__(self, pipe: RedisPipe, settings: Settings) -> None:
        self._pipe = pipe
        self._settings = settings
        self._lease_ms = int(settings.lease_s * 1000)
        self._blocking: BlockingPipe | None = None
        self._plenty = False
        """Whether the last claim was filled: more tasks may be available without waiting."""

    async def stop(self) -> None:
        if self._blocking is not None:
            await self._blocking.stop()

    # the decider's and the scheduler's end

    async def push(self, tasks: Sequence[Task]) -> None:
        """Append tasks to the queue, in order, but for those that were pushed before. Raises RedisUnavailable."""
        if not tasks:
            return
        args: list[object] = []
        for task in tasks:
            args += [task.id, messages.encode(task)]
        await self._pipe.call("EVAL", _PUSH, 2, self._pipe.key("queue"), self._pipe.key("task", ""), *args)

    async def withdraw(self, task_id: str) -> bool:
        """Remove a task that no worker has claimed from the queue; return False if it is not there."""
        return bool(
            await self._pipe.call(
                "EVAL", _WITHDRAW, 2, self._pipe.key("queue"), self._pipe.key("task", task_id), task_id, DONE_MS
            )
        )

    async def reap(self) -> list[str]:
        """Remove workers whose leases have expired, and their tasks; return the tasks' ids."""
        keys = (self._pipe.key("leases"), self._pipe.key("held", ""), self._pipe.key("task", ""))
        run_ids = await self._pipe.call("EVAL", _REAP, len(keys), *keys, DONE_MS)
        return [x.decode() for x in run_ids]

    async def check_writable(self) -> None:
        """Check that Redis accepts writes. Raises RedisUnavailable if it does not, or cannot be reached."""
        await self._pipe.call("SET", self._pipe.key("writable"), 1, "PX", 1000)

    async def check_usable(self) -> None:
        """Check that Redis accepts writes, and that langlog's keys are its own. Raises RedisUnavailable, as RedisKeyForeign where a key
        holds another program's value."""
        await self.check_writable()
        await check_kinds(self._pipe)

    async def known(self) -> set[str]:
        """Return the ids of all tasks, queued or held."""
        ids = set(await self._pipe.call("LRANGE", self._pipe.key("queue"), 0, -1))
        for worker in await self._pipe.call("ZRANGE", self._pipe.key("leases"), 0, -1):
            ids.update(await self._pipe.call("LRANGE", self._pipe.key("held", worker.decode()), 0, -1))
        return {x.decode() for x in ids}

    # a worker's end

    async def lease(self, worker: str, *, fresh: bool = False) -> bool:
        """Renew the worker's lease (``fresh``: acquire it). Return False if it was lost, and with it the worker's tasks."""
        answer = await self._pipe.call(
            "EVAL", _LEASE, 1, self._pipe.key("leases"), worker, self._lease_ms, "1" if fresh else "0"
        )
        return bool(answer)

    async def claim(self, worker: str, limit: int, wait_s: float) -> list[Task]:
        """Claim up to ``limit`` tasks, waiting up to ``wait_s`` (0: without limit) for the first. Raises RedisUnavailable.

        A claim that raised or was cancelled may have moved tasks all the same: `held` finds them.
        """
        if self._blocking is None:
            self._blocking = BlockingPipe(self._settings)
        client, queue, held = self._blocking, self._pipe.key("queue"), self._pipe.key("held", worker)
        limit = min(limit, 1 + CLAIM_AHEAD)
        if self._plenty:
            task = await self._take(client, queue, held, b"", limit)
            if task:
                return task
        try:
            limit_s = wait_s + ANSWER_S if wait_s else None
            async with asyncio.timeout(limit_s):
                first = await client.wait("BLMOVE", queue, held, "RIGHT", "LEFT", wait_s)
        except (TimeoutError, asyncio.CancelledError) as error:
            client.drop()  # a BLMOVE that stays behind would claim a task later, unnoticed
            if isinstance(error, TimeoutError):
                raise RedisUnavailable("Redis does not answer") from None
            raise
        return [] if first is None else await self._take(client, queue, held, first, limit - 1)

    async def end_claim(self) -> None:
        """Make a waiting claim return, empty or with the tasks it has just received. Raises RedisUnavailable.

        Redis may still pass a task to a claim that was only cancelled, after the canceller has checked. A claim whose command
        arrives after this call keeps waiting: call it again.
        """
        if self._blocking is not None:
            await self._blocking.end_wait(self._pipe)

    async def give_back(self, worker: str, kept: Collection[str] = (), *, leave: bool = False) -> int:
        """Return the tasks that the worker holds and has not begun to the queue, as the same attempt: all but the ids in ``kept``.

        ``leave``: it holds nothing from then on, and its lease ends. How many tasks were given back. Raises RedisUnavailable.
        """
        keys = (self._pipe.key("queue"), self._pipe.key("held", worker), self._pipe.key("leases"))
        leaving = worker if leave else ""
        return int(await self._pipe.call("EVAL", _GIVE_BACK, 3, *keys, leaving, self._pipe.key("task", ""), *kept))

    async def _take(self, client: RedisPipe, queue: str, held: str, first: bytes, more: int) -> list[Task]:
        task_key = self._pipe.key("task", "")
        ids, payloads = await client.call("EVAL", _CLAIM, 3, queue, held, task_key, first, more)
        self._plenty = len(ids) > more
        tasks = []
        for task_id, payload in zip(ids, payloads, strict=True):
            if not payload:  # finished or withdrawn elsewhere: nothing to do, nothing to hold
                self._pipe.send("LREM", held, 1, task_id)
            else:
                tasks.append(messages.decode_task(payload))
        return tasks

    async def held(self, worker: str) -> list[Task]:
        """Return the tasks that the worker holds, after earlier releases. Raises RedisUnavailable."""
        ids = [x.decode() for x in await self._pipe.call("LRANGE", self._pipe.key("held", worker), 0, -1)]
        if not ids:
            return []
        payloads = await self._pipe.call("MGET", *(self._pipe.key("task", x) for x in ids))
        return [messages.decode_task(x) for x in payloads if x]

    def release(self, worker: str, task_id: str) -> None:
        """Remove a finished or returned task from those that the worker holds."""
        keys = (self._pipe.key("held", worker), self._pipe.key("task", task_id))
        self._pipe.send_late("EVAL", _RELEASE, len(keys), *keys, task_id, DONE_MS)

    async def hold_again(self, worker: str, tasks: Sequence[Task]) -> None:
        """Store again, after Redis was wiped, what this live worker holds."""
        await self.lease(worker, fresh=True)
        for task in tasks:
            self._pipe.send("SET", self._pipe.key("task", task.id), messages.encode(task))
            self._pipe.send("RPUSH", self._pipe.key("held", worker), task.id)
