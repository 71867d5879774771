"""A load whose history can be judged: rounds of a few clients that meet on threads, interrupts and store items of their own.

Each round uses new subjects and ends with reading what has become of them, so that nothing acknowledged may be lost, doubled or stuck:
a round that does not end fails the test.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.history.calls import History
from tests.history.clients import Answer, Client, Wait, session
from tests.history.linearizability import violations
from tests.history.models import BUSY, MISSING, MODELS, OPEN

STEPS = range(1, 6)
ROUND_S = 180.0
"""In which a round must end, whatever befalls langlog: far more than any fault lasts."""
LOOK_S = 0.1
"""Between two looks at what no message announces to a client that only polls."""
SHOWN = 20
"""First and last calls of a round that is stuck."""
STRATEGIES = ("enqueue", "interrupt", "rollback", "reject")


class Workload:
    def __init__(self, http: aiohttp.ClientSession, urls: list[str], seed: int, pace_s: float) -> None:
        """``pace_s``: between a round and the next of its kind."""
        self.history = History()
        self.rounds = 0
        """Number of rounds that have ended."""
        self.acknowledged_runs = 0
        self.wrong: list[str] = []
        """Violations that rounds found themselves, besides those that the models find."""
        self._http, self._urls, self._seed = http, urls, seed
        self._pace_s = pace_s
        self._clients: list[Client] = []
        self._stopping = asyncio.Event()
        self._news = asyncio.Condition()

    @property
    def waits(self) -> list[Wait]:
        return [wait for client in self._clients for wait in client.waits]

    def client(self, name: str) -> Client:
        number = len(self._clients)
        client = Client(f"{name}-{number}", self._http, self._urls, self.history, self._seed * 10_000 + number)
        self._clients.append(client)
        return client

    @asynccontextmanager
    async def going(self, width: int = 1) -> AsyncIterator[None]:
        """Rounds of each kind, one after the other, ``width`` of each at once, while the block runs; afterwards all have ended."""
        kinds = (self.made, self.items, self.queue, self.question)
        tasks = [asyncio.create_task(self._repeat(kind)) for kind in kinds for _ in range(width)]
        failed = False
        try:
            yield
        except BaseException:
            failed = True
            raise
        finally:
            self._stopping.set()
            if failed:
                for task in tasks:
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _repeat(self, kind: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        while not self._stopping.is_set():
            id = str(uuid.uuid4())
            try:
                async with asyncio.timeout(ROUND_S):
                    await kind(id)
            except TimeoutError:
                calls = [str(call) for call in self.history.calls if id in call.subject]
                stuck = f"a round of {kind.__name__} is stuck: it did not end within {ROUND_S} s; its calls:"
                self.wrong.append("\n  ".join([stuck, *calls[:SHOWN], "…", *calls[-SHOWN:]]))
            async with self._news:
                self.rounds += 1
                self._news.notify_all()
            await asyncio.sleep(self._pace_s)

    async def more(self, rounds: int) -> None:
        """Wait until so many more have ended."""
        goal = self.rounds + rounds
        async with asyncio.timeout(ROUND_S), self._news:
            await self._news.wait_for(lambda: self.rounds >= goal)

    def violations(self) -> list[str]:
        """Whatever no order of calls explains, and what is lost, doubled or stuck otherwise."""
        return [*self.wrong, *map(str, violations(self.history, MODELS))]

    def check(self) -> None:
        """AssertionError with all violations."""
        found = self.violations()
        assert not found, "\n".join(found)

    # kinds of rounds

    async def made(self, id: str) -> None:
        """Clients create a thread under one id at once."""
        subject = f"made:{id}"

        async def create(client: Client) -> None:
            if_exists = client.random.choice(["raise", "do_nothing"])
            body = {"thread_id": id, "if_exists": if_exists, "metadata": {"by": client.name}}
            await client.call(subject, "create", (if_exists, client.name), ("POST", "/threads", body), maker)
            await read(client)

        async def read(client: Client) -> None:
            await client.call(subject, "read", None, ("GET", f"/threads/{id}", None), maker)

        await asyncio.gather(*(create(self.client("made")) for _ in range(3)))
        await read(self.client("made"))

    async def items(self, id: str) -> None:
        """Clients write, delete and read one item of the store."""
        namespace, key = id, "k"
        subject = f"store:{namespace}"

        async def use(client: Client) -> None:
            for n in range(4):
                match client.random.choice(["put", "put", "read", "delete"]):
                    case "put":
                        value = f"{client.name}-{n}"
                        body = {"namespace": [namespace], "key": key, "value": {"v": value}}
                        await client.call(subject, "put", value, ("PUT", "/store/items", body), done)
                    case "delete":
                        body = {"namespace": [namespace], "key": key}
                        await client.call(subject, "delete", None, ("DELETE", "/store/items", body), done)
                    case _:
                        await read(client)

        async def read(client: Client) -> None:
            path = f"/store/items?namespace={namespace}&key={key}"
            await client.call(subject, "read", None, ("GET", path, None), item)

        await asyncio.gather(*(use(self.client("store")) for _ in range(3)))
        await read(self.client("store"))

    async def queue(self, id: str) -> None:
        """Clients start runs on one thread, each by any strategy, while another lists them."""
        subject = f"queue:{id}"

        async def start(client: Client) -> None:
            for n in range(2):
                label, strategy = f"{client.name}-{n}", client.random.choice(STRATEGIES)
                body = {
                    "assistant_id": "steps",
                    "input": {"label": label, "seconds": 0.01},
                    "metadata": {"label": label},
                    "if_not_exists": "create",
                    "multitask_strategy": strategy,
                    "durability": "sync",
                }
                request = ("POST", f"/threads/{id}/runs", body)
                if await client.call(subject, "create", (strategy, label), request, started, key=label) == label:
                    self.acknowledged_runs += 1

        async def listed(client: Client) -> Any:
            return await client.call(subject, "read", None, ("GET", f"/threads/{id}/runs?limit=100", None), statuses)

        async def over(client: Client) -> Any:
            shown = await listed(client)
            while any(status == OPEN for _, status in shown):
                await asyncio.sleep(LOOK_S)
                shown = await listed(client)
            return shown

        starting = asyncio.gather(*(start(self.client("queue")) for _ in range(2)))
        reader = self.client("queue")
        while not starting.done():
            await listed(reader)
            await asyncio.sleep(LOOK_S)
        await starting
        began = time.monotonic()
        shown = await over(reader)
        reader.waits.append(Wait("end", began, time.monotonic()))
        state = await reader.call(f"{subject} state", "look", None, ("GET", f"/threads/{id}/state", None), trail)
        self._compare(id, shown, state)

    def _compare(self, id: str, shown: Any, state: Any) -> None:
        """The thread's state holds what its runs did, in their order, and nothing of those that are gone."""
        left = list(state)
        expected = []
        for label, status in shown:
            did = [step for step in left if step.startswith(f"{label}:")]
            whole = [f"{label}:{n}" for n in STEPS]
            if did != whole[: len(did)] or (status == "success" and did != whole):
                self.wrong.append(f"thread {id}: the {status} run {label} left {did}")
            expected += did
        if left != expected:
            self.wrong.append(f"thread {id}: its runs are {shown}, its state {left}")

    async def question(self, id: str) -> None:
        """Clients answer one interrupt at once."""
        subject = f"question:{id}"
        reader = self.client("question")
        body = {"assistant_id": "question", "input": {}, "if_not_exists": "create", "durability": "sync"}
        start = ("POST", f"/threads/{id}/runs", body)
        await reader.call(f"{subject} start", "look", None, start, done, key=id)
        self.acknowledged_runs += 1
        while not (interrupts := await self._thread(reader, subject, asked)):
            await asyncio.sleep(LOOK_S)
        assert isinstance(interrupts, str)

        async def answer(client: Client) -> None:
            params = {"namespace": [], "interrupt_id": interrupts, "response": client.name}
            respond = {"id": 1, "method": "input.respond", "params": params}
            await client.call(subject, "answer", client.name, ("POST", f"/threads/{id}/commands", respond), taken)

        async def read(client: Client) -> Hashable:
            return await client.call(subject, "read", None, ("GET", f"/threads/{id}", None), answers)

        await asyncio.gather(*(answer(self.client("question")) for _ in range(3)))
        began = time.monotonic()
        while await read(reader) is None:
            await asyncio.sleep(LOOK_S)
        reader.waits.append(Wait("end", began, time.monotonic()))

    async def _thread(self, client: Client, subject: str, meaning: Callable[[Answer], Hashable]) -> Hashable:
        path = f"/threads/{subject.partition(':')[2]}"
        return await client.call(f"{subject} thread", "look", None, ("GET", path, None), meaning)


@asynccontextmanager
async def workload(urls: list[str], seed: int = 0, pace_s: float = 0.0) -> AsyncIterator[Workload]:
    async with session() as http:
        yield Workload(http, urls, seed, pace_s)


# what answers mean


def ok(answer: Answer) -> None:
    assert answer.status in (200, 204), answer


def done(answer: Answer) -> None:
    ok(answer)


def maker(answer: Answer) -> Hashable:
    if answer.status in (MISSING, BUSY):
        return answer.status
    ok(answer)
    maker: str = answer.body["metadata"]["by"]
    return maker


def item(answer: Answer) -> Hashable:
    if answer.status == MISSING or (answer.status == 200 and answer.body in (None, "")):
        return MISSING
    ok(answer)
    value: str = answer.body["value"]["v"]
    return value


def started(answer: Answer) -> Hashable:
    if answer.status == BUSY:
        return BUSY
    ok(answer)
    label: str = answer.body["metadata"]["label"]
    return label


def statuses(answer: Answer) -> Hashable:
    if answer.status == MISSING:
        return ()
    ok(answer)
    return tuple(
        (run["metadata"]["label"], OPEN if run["status"] in ("pending", "running") else run["status"])
        for run in reversed(answer.body)
    )


def asked(answer: Answer) -> Hashable:
    """The id of the interrupt that the thread waits at."""
    if answer.status == MISSING:
        return None
    ok(answer)
    waiting = [one["id"] for entries in answer.body.get("interrupts", {}).values() for one in entries]
    return waiting[0] if waiting else None


def taken(answer: Answer) -> Hashable:
    ok(answer)
    assert answer.body["type"] == "success" or answer.body["error"] == "no_such_interrupt", answer
    return answer.body["type"] == "success"


def answers(answer: Answer) -> Hashable:
    ok(answer)
    given = (answer.body["values"] or {}).get("answers", [])
    return tuple(given) if len(given) > 1 else given[0] if given else None


def trail(answer: Answer) -> Hashable:
    ok(answer)
    return tuple((answer.body["values"] or {}).get("trail", ()))
