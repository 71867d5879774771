#!/usr/bin/env python3
"""Replay recorded exchanges against a running server and report where it answers differently.

    python tests/contract/replay.py --url http://127.0.0.1:2024 [--config langgraph.json] [--case PREFIX]
        [--parallel 6] [--out FILE] [tests/contract/recordings/runs.jsonl …]

The server must have been started on ``graphs/`` beside this file with the ``langgraph.json`` variant named by
``--config`` (each recorded line names the variant that it was taken with; lines of other variants are passed over).

A case stands alone and cases run side by side, except those of `ALONE`, which look at or change what all share. Within
a case a step starts once every step that had ended before it, in the recording, has ended here too; steps that
overlapped in the recording overlap here, with the recorded distance. Ids that the server hands out are learned from its
answers and put into later requests; ids that a client chose are replaced by fresh ones. Compared are: status, the
headers recorded, JSON bodies (keys, types, and values other than ids, times and versions), and for streams the
sequence of events with their data.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

Json = Any
Step = dict[str, Any]
Cases = Mapping[tuple[str, str], Sequence[Step]]
"""(file, case) -> its steps."""

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"
HOOK_PORT = 2129
"""Port of recorded webhook addresses; replayed ones have a free port."""
STEP_LIMIT_S = 90.0
"""An exchange that takes longer is a difference."""
LATE_S = 20.0
"""Seconds beyond the recorded time that a busy machine may take until a client has seen enough to disconnect."""
PARALLEL = 6
"""Cases at once: enough to fill the recorded pauses, few enough to keep the recorded order of overlapping steps."""

ALONE = (
    "assistants.",
    "auth.assistants.",
    "cancel.many",
    "crons.",
    "system.",
    "webhook.",
    "mcp.",
    "threads.search",
    "store.",
)
"""Cases that count, list or change what others see, or that share the one webhook receiver."""
TIMED = ("cancel.", "multitask.", "stream.join", "stream.not_resumable")
"""Cases in which the number of ticks before a cut is a matter of speed."""

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HEX = re.compile(r"\b[0-9a-f]{32}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?")
ID_KEY = re.compile(UUID.pattern + r"|[0-9a-f]{32}")
EVENT_ID = re.compile(r"^\d{13}-\d+(\.\d+)?$")
LOOSE_KEYS = frozenset(
    [
        "version",
        "langgraph_version",
        "lc_versions",
        "langgraph_api_version",
        "langgraph_py_version",
        "langgraph_plan",
        "langgraph_host",
        "langgraph_api_url",
        "host",
        "flags",
        "services",
        "user-agent",
        "t",
        "user_agent",
    ]
)
"""Present in the recording, but free in value and allowed to be absent."""


class Exchange(NamedTuple):
    """The result of a replayed exchange; no differences: as recorded."""

    file: str
    label: str
    """``<case> <step>``"""
    what: str
    """Method and path, for people."""
    differences: list[str]


def private(key: str) -> bool:
    """Return whether the key is internal to the recorded server."""
    return key.startswith(("__", "langgraph_auth", "langgraph_request", "x-")) or key in LOOSE_KEYS


def blur(value: Json) -> Json:
    """A scalar without what changes from run to run."""
    if isinstance(value, str):
        value = TIME.sub("<time>", HEX.sub("<hex>", UUID.sub("<id>", value)))
        return "<event id>" if EVENT_ID.match(value) else value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "<ms>" if value > 1e11 else value
    return value


def without_ids(body: Mapping[str, Json]) -> dict[str, Json]:
    """Keys that are or hold ids, compared by their place and by what is left of them."""
    return {f"{ID_KEY.sub('<id>', k)} {n}" if ID_KEY.search(k) else k: v for n, (k, v) in enumerate(body.items())}


def differences(want: Json, got: Json, path: str = "") -> list[str]:
    """Yield the differences of ``got`` from ``want``, one line each."""
    if isinstance(want, dict) and isinstance(got, dict):
        if any(ID_KEY.search(key) for key in want):
            want, got = without_ids(want), without_ids(got)
        collected = []
        for key in want:
            if private(key):
                continue
            if key in got:
                collected += differences(want[key], got[key], f"{path}.{key}")
            else:
                collected.append(f"{path}.{key}: missing")
        return collected + [
            f"{path}.{key}: not in the recording" for key in got if key not in want and not private(key)
        ]
    if isinstance(want, list) and isinstance(got, list):
        collected = [] if len(want) == len(got) else [f"{path}: {len(got)} entries, recorded {len(want)}"]
        for n, (a, b) in enumerate(zip(want, got, strict=False)):
            collected += differences(a, b, f"{path}[{n}]")
        return collected
    if path == "body.detail" and isinstance(want, str) and isinstance(got, str):
        return []  # clients depend on its being a sentence, not on which
    a, b = blur(want), blur(got)
    if type(a) is not type(b) and not (isinstance(a, (int, float)) and isinstance(b, (int, float))):
        return [f"{path}: {json.dumps(got)[:80]}, recorded {json.dumps(want)[:80]}"]
    return [] if a == b else [f"{path}: {json.dumps(b)[:80]}, recorded {json.dumps(a)[:80]}"]


class Names:
    """Recorded ids and what they are called here. One per case."""

    def __init__(self) -> None:
        self._here: dict[str, str] = {}

    def learn(self, want: Json, got: Json) -> None:
        """Take every id at the same place in both to mean the same thing."""
        if isinstance(want, dict) and isinstance(got, dict):
            keyed = ([(k, v) for k, v in d.items() if ID_KEY.search(k)] for d in (want, got))
            for (a, x), (b, y) in zip(*keyed, strict=False):
                for old, here in zip(ID_KEY.findall(a), ID_KEY.findall(b), strict=False):
                    self._here.setdefault(old, here)
                self.learn(x, y)
            for key in want.keys() & got.keys():
                self.learn(want[key], got[key])
        elif isinstance(want, list) and isinstance(got, list):
            for a, b in zip(want, got, strict=False):
                self.learn(a, b)
        elif isinstance(want, str) and isinstance(got, str):
            for a, b in zip(UUID.findall(want), UUID.findall(got), strict=False):
                self._here.setdefault(a, b)
            if EVENT_ID.match(want) or re.fullmatch(r"[0-9a-f]{32}", want):
                self._here.setdefault(want, got)

    def put(self, text: str) -> str:
        """Return the text with recorded ids replaced; an unknown id is replaced by a new one."""

        def one(match: re.Match[str]) -> str:
            name = match.group()
            if name[14] == "5" or name.count("0") > 20:  # derived from a name, or chosen to be unknown
                return name
            return self._here.setdefault(name, str(uuid.uuid4()))

        text = UUID.sub(one, text)
        for name, here in self._here.items():
            if not UUID.fullmatch(name):
                text = text.replace(name, here)
        return text


def squeeze(names: Sequence[Json]) -> list[Json]:
    """The names with repetitions in a row left out."""
    return [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]


async def read_sse(answer: aiohttp.ClientResponse, enough: int | None, limit_s: float) -> list[dict[str, Json]]:
    """The events of a stream, up to ``enough`` of them where the recorded client left early."""
    events: list[dict[str, Json]] = []
    event: dict[str, Json] = {}
    deadline = time.monotonic() + limit_s
    while enough is None or len(events) < enough:
        try:
            raw = await asyncio.wait_for(answer.content.readline(), max(0.01, deadline - time.monotonic()))
        except TimeoutError:
            break
        if not raw:
            break
        line = raw.decode().rstrip("\r\n")
        if not line:
            if event:
                events.append(event)
                event = {}
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[field] = event.get("data", "") + value if field == "data" else value
    for event in events:
        with contextlib.suppress(ValueError):
            event["data"] = json.loads(event["data"]) if event.get("data") else None
    return events


class Replay:
    """Replays cases against one server. `receiver` must be entered first when cases have webhooks."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._hook_port = HOOK_PORT
        self._hooks: list[dict[str, Json]] = []
        self._hooked = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def receiver(self) -> AsyncIterator[None]:
        """The webhook receiver: 500 on ``/fail…``, 200 otherwise."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._hook)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._hook_port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    async def _hook(self, request: web.Request) -> web.Response:
        body = (await request.text()).replace(f":{self._hook_port}/", f":{HOOK_PORT}/")
        async with self._hooked:
            self._hooks.append({"method": request.method, "path": request.path_qs, "json": json.loads(body or "null")})
            self._hooked.notify_all()
        return web.json_response({}, status=500 if request.path.startswith("/fail") else 200)

    async def _webhooks(self, recorded: list[dict[str, Json]]) -> list[str]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LATE_S), self._hooked:
                await self._hooked.wait_for(lambda: len(self._hooks) >= len(recorded))
        got, self._hooks = self._hooks, []
        return differences([{k: h[k] for k in ("method", "path", "json")} for h in recorded], got, "webhook")

    async def _websocket(
        self, session: aiohttp.ClientSession, step: Step, names: Names, path: str, headers: dict[str, str]
    ) -> list[str]:
        want = step["response"]
        frames: list[Json] = []
        try:
            socket = await session.ws_connect(self.url + path, headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            return [] if error.status == want["status"] else [f"status {error.status}, recorded {want['status']}"]
        async with socket:
            for frame in want["frames"]:
                if frame["dir"] == "sent":
                    await socket.send_str(names.put(frame["text"] if "text" in frame else json.dumps(frame["json"])))
                    continue
                try:
                    message = await asyncio.wait_for(socket.receive(), LATE_S)
                except TimeoutError:
                    break
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frames.append(json.loads(message.data))
                names.learn(frame.get("json"), frames[-1])
        collected = [] if want["status"] == 101 else [f"status 101, recorded {want['status']}"]
        return collected + differences(
            [f.get("json") for f in want["frames"] if f["dir"] == "received"], frames, "frames"
        )

    async def step(self, session: aiohttp.ClientSession, step: Step, names: Names) -> list[str]:
        """Send one exchange; how the answer differs from the recorded one."""
        if "webhook_received" in step:
            return await self._webhooks(step["webhook_received"])
        request, want = step["request"], step["response"]
        path = names.put(request["path"])
        headers = {k: names.put(v) for k, v in (request.get("headers") or {}).items()}
        if request["method"] == "WEBSOCKET":
            return await self._websocket(session, step, names, path, headers)
        query = [
            (k, names.put(str(x)))
            for k, v in (request.get("query") or {}).items()
            for x in (v if isinstance(v, list) else [v])
        ]
        data = None
        if "raw" in request or "json" in request:
            data = names.put(request["raw"] if "raw" in request else json.dumps(request["json"]))
            data = data.replace(f":{HOOK_PORT}/", f":{self._hook_port}/")
            headers.setdefault("content-type", "application/json")
        async with session.request(
            request["method"], self.url + path, params=query, data=data, headers=headers, allow_redirects=False
        ) as answer:
            collected = (
                [] if answer.status == want["status"] else [f"status {answer.status}, recorded {want['status']}"]
            )
            collected += self._headers(answer, want.get("headers", {}), names)
            if "sse" in want:
                collected += await self._stream(answer, step, names)
            elif "json" in want:
                text = (await answer.text()).replace(f":{self._hook_port}/", f":{HOOK_PORT}/")
                try:
                    body = json.loads(text)
                except ValueError:
                    return [*collected, f"body is not JSON: {text[:80]!r}"]
                names.learn(want["json"], body)
                collected += differences(want["json"], body, "body")
            else:
                await answer.read()
        return collected

    def _headers(self, answer: aiohttp.ClientResponse, want: Mapping[str, str], names: Names) -> list[str]:
        collected = []
        for name, value in want.items():
            here = answer.headers.get(name)
            if here is None:
                collected.append(f"header {name}: missing")
            elif name == "content-type" and here.split(";")[0] != value.split(";")[0]:
                collected.append(f"header {name}: {here}, recorded {value}")
            elif name in ("location", "content-location"):
                here = here.replace(self.url, "http://server")
                names.learn(value, here)
                collected += differences(value, here, f"header {name}")
        return collected

    async def _stream(self, answer: aiohttp.ClientResponse, step: Step, names: Names) -> list[str]:
        want = step["response"]
        recorded = [e for e in want["sse"] if "comment" not in e]
        left_early = want.get("closed_by") not in (None, "server")
        duration_s = (step["at_ms"][1] - step["at_ms"][0]) / 1000
        limit_s = min(STEP_LIMIT_S, duration_s + LATE_S) if left_early else STEP_LIMIT_S
        events = await read_sse(answer, len(recorded) if left_early else None, limit_s)
        names.learn(recorded, events)
        order_want, order_got = ([blur(e.get("event")) for e in es] for es in (recorded, events))
        if step["case"].startswith(TIMED) and squeeze(order_want) == squeeze(order_got):
            return []
        if order_want != order_got:
            return [f"events {order_got}, recorded {order_want}"]
        strip_want, strip_got = (
            [{k: e[k] for k in ("event", "data") if k in e} | {"has id": "id" in e} for e in es]
            for es in (recorded, events)
        )
        return differences(strip_want, strip_got, "sse")

    async def case(self, file: str, steps: Sequence[Step]) -> list[Exchange]:
        """All exchanges of one case, in the recorded order of ends and starts."""
        names, result = Names(), dict[int, list[str]]()
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=STEP_LIMIT_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            tasks: list[asyncio.Task[None]] = []

            async def run(n: int, step: Step) -> None:
                start = step.get("at_ms", [0])[0]
                before = [
                    m
                    for m in range(n)
                    if "at_ms" not in step or "at_ms" not in steps[m] or steps[m]["at_ms"][1] <= start + 1
                ]
                await asyncio.gather(*(tasks[m] for m in before))
                beside = [m for m in range(n) if m not in before]
                if beside:  # keep the recorded distance to the last step that was under way
                    latest = max(steps[m]["at_ms"][0] for m in beside)
                    base = max([latest, *(steps[m]["at_ms"][1] for m in before if "at_ms" in steps[m])])
                    await asyncio.sleep(max(0.02, (start - base) / 1000))
                else:
                    await asyncio.sleep(step.get("pause_ms", 0) / 1000)
                try:
                    result[n] = await self.step(session, step, names)
                except Exception as error:  # a broken answer is a difference, not the end of the replay
                    result[n] = [f"{type(error).__name__}: {error}"[:160]]

            for n, step in enumerate(steps):
                tasks.append(asyncio.create_task(run(n, step)))
            await asyncio.gather(*tasks)
        return [
            Exchange(
                file,
                f"{step['case']} {step['step']}",
                f"{step['request']['method']} {step['request']['path']}" if "request" in step else "webhook",
                result[n],
            )
            for n, step in enumerate(steps)
        ]

    async def all(self, cases: Cases, parallel: int = PARALLEL) -> list[Exchange]:
        """All cases by (file, case): those that stand alone side by side, then the others one by one."""
        slots = asyncio.Semaphore(parallel)

        async def bounded(file: str, steps: Sequence[Step]) -> list[Exchange]:
            async with slots:
                return await self.case(file, steps)

        beside = [key for key in cases if not key[1].startswith(ALONE)]
        # the longest first, so that none is left over at the end
        beside.sort(key=lambda key: -max(step.get("at_ms", [0, 0])[1] for step in cases[key]))
        results = await asyncio.gather(*(bounded(key[0], cases[key]) for key in beside))
        for key in cases:
            if key[1].startswith(ALONE):
                results.append(await self.case(key[0], cases[key]))
        return [exchange for exchanges in results for exchange in exchanges]


def load(files: Iterable[Path], config: str, prefix: str = "") -> dict[tuple[str, str], list[Step]]:
    """(file, case) -> its steps, of one configuration variant."""
    cases: dict[tuple[str, str], list[Step]] = defaultdict(list)
    for file in files:
        for line in file.read_text().splitlines():
            step = json.loads(line)
            if step["config"] == config and step["case"].startswith(prefix):
                cases[file.name, step["case"]].append(step)
    return dict(cases)


def read_list(file: Path) -> dict[str, str]:
    """A file of ``case step  # reason`` lines: label -> reason."""
    members = {}
    for line in file.read_text().splitlines():
        label, _, reason = line.partition("#")
        if label.strip():
            members[" ".join(label.split())] = reason.strip()
    return members


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=sorted(RECORDINGS.glob("*.jsonl")))
    parser.add_argument("--url", required=True)
    parser.add_argument("--config", default="langgraph.json")
    parser.add_argument("--case", default="", help="only cases whose name begins so")
    parser.add_argument("--known", type=Path, action="append", default=[], help="'case step' lines that do not count")
    parser.add_argument("--parallel", type=int, default=PARALLEL, help="cases at once")
    parser.add_argument("--out", type=Path, help="write 'case step  # first difference' of each that differs")
    parser.add_argument("--quiet", action="store_true", help="totals only")
    args = parser.parse_args()
    known = {label for file in [HERE / "noise.txt", *args.known] for label in read_list(file)}
    cases = load(args.files, args.config, args.case)
    hooked = any("webhook_received" in step for steps in cases.values() for step in steps)
    replay = Replay(args.url)
    async with replay.receiver() if hooked else contextlib.nullcontext():
        result = await replay.all(cases, args.parallel)
    result = [exchange for exchange in result if exchange.label not in known]
    per_file: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in result:
        per_file[exchange.file].append(exchange)
        if exchange.differences and not args.quiet:
            print(f"{exchange.label}: {exchange.what}", *exchange.differences[:6], sep="\n    ")
    differing = [exchange for exchange in result if exchange.differences]
    if args.out:
        args.out.write_text("".join(f"{e.label}  # {e.differences[0]}\n" for e in differing))
    for file, exchanges in sorted(per_file.items()):
        print(f"{file}: {sum(not e.differences for e in exchanges)}/{len(exchanges)}")
    print(f"{len(result) - len(differing)} of {len(result)} exchanges as recorded")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
