"""The log of a running langlog is cut; nothing that clients see changes, and the rest of the log still contains everything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import requests
from langlog_backbone.embedded.servers import LOG_FILE, EmbeddedPostgres
from langlog_backbone.log import Log, LogUnavailable, NewRecord, Position, Record, TopicPartition, started_log
from langlog_backbone.process.settings import Settings
from langlog_projector.rebuild import retention, swap
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, snapshots
from langlog_schemas.snapshots import SnapshotTaken, ThreadSnapshot

from tests.e2e.conftest import PROJECT
from tests.erasure.conftest import MASTER
from tests.stack.command_line import TOOL_S, Done, carried_out_here, langlog_here
from tests.stack.server import LiveServer, kafka_env

LIVE = "langlog_cut_test"


def nobody_looks(done: int, total: int) -> None:
    """Implements `Progress`."""


class Scene:
    """A server with a history, and the command line beside it."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = requests.request(method, self.server.url + path, json=body, headers=headers, timeout=TOOL_S)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def langlog(self, *words: str) -> Done:
        return langlog_here(self.server, *words)

    def cut(self, *words: str) -> Done:
        now = datetime.now(UTC).isoformat()
        return self.langlog("log", "cut", "--before", now, "--yes", *words)

    def thread(self, text: str) -> str:
        thread: str = self.call("POST", "/threads", {"metadata": {"text": text}})["thread_id"]
        self.run(thread, text)
        return thread

    def run(self, thread: str, text: str, graph: str = "echo") -> None:
        self.call("POST", f"/threads/{thread}/runs/wait", {"assistant_id": graph, "input": {"text": text}})

    def events(self, thread: str) -> list[dict[str, Any]]:
        body: list[dict[str, Any]] = self.call("GET", f"/threads/{thread}/events?limit=1000")["events"]
        return body

    def then(self, thread: str, at: object) -> Any:
        """The thread's state as of a position or a time."""
        return self.call("GET", f"/threads/{thread}/state?as_of={quote(str(at))}")

    def settings(self) -> Settings:
        """Return the server's settings, for tools within this process."""
        env = self.server.env
        return Settings(
            log_uri=env.get("LOG_URI", f"sqlite://{self.server.data.absolute()}/{LOG_FILE}"),
            database_uri=EmbeddedPostgres(self.server.data).uri,
            data_dir=self.server.data,
            topic_prefix=env.get("LANGLOG_TOPIC_PREFIX", ""),
            partitions=int(env["LANGLOG_PARTITIONS"]),
            projection=LIVE,
            encryption="on",
            master_key=MASTER,
        )

    @contextlib.asynccontextmanager
    async def log(self) -> AsyncIterator[tuple[Log, Settings]]:
        """Open the log like a tool, within this process."""
        settings = self.settings()
        async with started_log(settings) as log:
            yield log, settings

    def cut_here(self) -> None:
        """Cut like `cut`, within this process."""

        async def cut() -> None:
            async with self.log() as (log, settings):
                assert (await retention.cut(log, settings, datetime.now(UTC), nobody_looks)).done

        asyncio.run(cut())

    def verified(self) -> None:
        async def verify() -> None:
            async with self.log() as (log, settings):
                report = await swap.verify(log, settings, nobody_looks)
                assert report.comparison is not None and report.comparison.same, report.comparison

        asyncio.run(verify())

    def caught_up(self) -> None:
        """Once the read model is where the log is: a server is ready before, with what it has."""
        until = time.monotonic() + TOOL_S
        while self.call("GET", "/ok?check_db=1")["services"]["projector"]["events_behind"]:
            assert time.monotonic() < until, "the projector is not where the log is"
            time.sleep(0.05)  # nothing tells a client of it

    def snapshots_with(self, thread: str, text: bytes) -> bool:
        """Return the number of the thread's snapshots in the log that contain the text, decrypted."""

        async def look() -> list[Record]:
            async with self.log() as (log, _):
                part = log.partition_of(thread)
                end = (await log.end_offsets(snapshots.TOPIC))[part]
                return await log.fetch(snapshots.TOPIC, part, range(end))

        records = asyncio.run(look())
        types = [envelope.type_of(record.headers) for record in records]
        assert types[-1] == SnapshotTaken.TYPE and ThreadSnapshot.TYPE in types
        of = [record for record in records if record.key == thread]
        assert of
        return any(text in record.value for record in of)

    def seen(self) -> dict[str, Any]:
        """Return everything that clients can see."""
        threads = sorted(thread["thread_id"] for thread in self.call("POST", "/threads/search", {"limit": 100}))
        return {
            "threads": [self.call("GET", f"/threads/{id}") for id in threads],
            "states": [self.call("GET", f"/threads/{id}/state") for id in threads],
            "histories": [self.call("GET", f"/threads/{id}/history?limit=100") for id in threads],
            "runs": [self.call("GET", f"/threads/{id}/runs") for id in threads],
            "assistants": self.call("POST", "/assistants/search", {"limit": 100}),
            "items": self.call("POST", "/store/items/search", {"namespace_prefix": []}),
            "crons": self.call("POST", "/runs/crons/search", {}),
        }


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {"LANGLOG_PARTITIONS": "8"}
    env |= {"LANGLOG_PROJECTION": LIVE, "LANGLOG_ENCRYPTION": "on", "LANGLOG_MASTER_KEY": MASTER}
    server = LiveServer(PROJECT, tmp_path_factory.mktemp(f"cut-{request.param}"), env)
    with server.up():
        result = Scene(server)
        for n in range(3):
            result.thread(f"hello {n}")
        result.call("POST", "/runs/wait", {"assistant_id": "echo", "input": {"text": "passing"}})
        result.call("PUT", "/store/items", {"namespace": ["a", "b"], "key": "k", "value": {"kept": True}})
        result.call(
            "POST", "/runs/crons", {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {"text": "yearly"}}
        )
        result.call("DELETE", f"/threads/{result.thread('gone')}")
        yield result


def test_clients_see_no_change_and_threads_go_on_after_a_cut_another_cut_and_a_rebuild(scene: Scene) -> None:
    old = scene.thread("old")
    seen = scene.seen()
    look = scene.cut("--dry")
    assert look.code == 0 and "would be cut" in look.out, look
    done = scene.cut()
    assert done.code == 0 and "No differences." in done.out and "were cut" in done.out, done
    assert [line for line in look.out.splitlines() if "run-events" in line] == [
        line for line in done.out.splitlines() if "run-events" in line
    ]
    assert scene.seen() == seen
    scene.verified()

    history = scene.call("GET", f"/threads/{old}/history?limit=100")
    scene.run(old, "again")
    longer = scene.call("GET", f"/threads/{old}/history?limit=100")
    assert len(longer) > len(history) and longer[-len(history) :] == history
    deleted = scene.thread("deleted after the cut")
    scene.cut_here()
    younger = scene.langlog("log", "cut", "--before", "1d")
    assert younger.code == 0 and ": 0 of" in younger.out, younger
    scene.call("DELETE", f"/threads/{deleted}")
    scene.run(old, "and again")
    seen = scene.seen()
    done = scene.langlog("rebuild")
    assert done.code == 0 and "No differences." in done.out and "Swapped" in done.out, done
    assert scene.seen() == seen


def test_the_past_of_a_thread_that_is_partly_cut_begins_with_its_snapshot(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = scene.thread("before the cut")
    first = scene.call("GET", f"/threads/{thread}/runs")[0]["run_id"]
    before, known = scene.call("GET", f"/threads/{thread}/state"), scene.events(thread)
    scene.cut_here()
    last, since = known[-1]["position"]["offset"], max(event["time"] for event in known)
    at_the_cut = scene.then(thread, last)
    assert at_the_cut["values"] == before["values"] and at_the_cut["checkpoint"] == before["checkpoint"]
    assert at_the_cut["as_of"]["status"] == "idle" and at_the_cut["as_of"]["metadata"]["text"] == "before the cut"
    assert json.loads(scene.langlog("log", "state", thread).out)["values"] == before["values"], "there is nothing else"

    scene.run(thread, "after the cut")
    run = scene.call("GET", f"/threads/{thread}/runs")[0]["run_id"]
    now, events = scene.call("GET", f"/threads/{thread}/state"), scene.events(thread)
    assert events[0]["type"] == "langlog.thread.created" and events[0]["data"] is None and events[0]["time"] is None
    rest = events[len(known) :]
    assert all(event["data"] is not None for event in rest) and now["values"] != before["values"]
    checkpoint = before["checkpoint"]["checkpoint_id"]
    assert scene.call("GET", f"/threads/{thread}/state/{checkpoint}")["values"] == before["values"]
    for at in (last, since):
        assert scene.then(thread, at) == at_the_cut
        shown = json.loads(scene.langlog("log", "state", thread, "--as-of", str(at)).out)
        assert (shown["values"], shown["position"], shown["status"]) == (before["values"], last, "idle")
    created = scene.then(thread, rest[0]["position"]["offset"])
    assert created["as_of"]["status"] == "busy" and created["values"] == before["values"]
    for at in (rest[-1]["position"]["offset"], rest[-1]["time"]):
        assert scene.then(thread, at)["values"] == now["values"]
    shown = json.loads(scene.langlog("log", "state", thread).out)
    assert shown["values"] == now["values"] and shown["checkpoint_id"] == now["checkpoint"]["checkpoint_id"]

    said = f"as of position {last} ({since}) and later"
    for early in (str(last - 1), known[0]["time"]):
        answer = requests.get(f"{scene.server.url}/threads/{thread}/state", {"as_of": early}, timeout=TOOL_S)
        assert answer.status_code == 410 and said in answer.json()["detail"], answer.text
        shown = scene.langlog("log", "state", thread, "--as-of", early)
        assert shown.code == 1 and said in shown.err, shown

    monkeypatch.setattr("langlog_executor.replay.process.run_in_sandbox", carried_out_here)
    again = scene.langlog("replay", run, "--config", str(PROJECT))
    assert again.code == 0 and "Replay matches the recorded run." in again.out, again
    folded = scene.langlog("replay", run, "--dry")
    assert folded.code == 0 and "folded again on top of its snapshot: as in the read model" in folded.out, folded
    for words in (("replay", first), ("replay", first, "--dry")):
        declined = scene.langlog(*words)
        assert declined.code == 2 and f"up to position {last} (" in declined.err, declined


def test_an_erased_thread_stays_erased_in_snapshots_too(scene: Scene) -> None:
    erased, kept = scene.thread("MARKER-OF-JUNE-51CC"), scene.thread("MARKER-OF-JULY-8A0D")
    scene.cut_here()
    assert scene.snapshots_with(erased, b"MARKER-OF-JUNE-51CC")
    scene.call("DELETE", f"/threads/{erased}")
    assert not scene.snapshots_with(erased, b"MARKER-OF-JUNE-51CC")
    assert scene.snapshots_with(kept, b"MARKER-OF-JULY-8A0D")
    scene.verified()
    scene.cut_here()


class Breaks:
    """A log that fails while it is cut, once: with a part of the cut done, or before anything of it."""

    def __init__(self, log: Log, after: int) -> None:
        self._log = log
        self._left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, records: Sequence[NewRecord]) -> list[Position]:
        if self._left == 0 and any(record.headers["ce_type"].endswith(SnapshotTaken.TYPE) for record in records):
            raise LogUnavailable("broken off")
        return await self._log.append(records)

    async def cut(self, positions: Mapping[TopicPartition, int]) -> None:
        self._left -= 1
        if self._left == 0:
            left = await self._last_with_records(positions)
            await self._log.cut({partition: cut for partition, cut in positions.items() if partition != left})
            raise LogUnavailable("broken off")
        await self._log.cut(positions)

    async def _last_with_records(self, positions: Mapping[TopicPartition, int]) -> TopicPartition:
        """Return the positions of event partitions with records, so that the next cut deletes something."""
        cuttable = []
        for (topic, partition), cut in positions.items():
            if topic != cmd.TOPIC and cut > (await self._log.start_offsets(topic))[partition]:
                cuttable.append((topic, partition))
        return cuttable[-1]


async def test_a_cut_that_is_broken_off_is_harmless_and_is_done_by_the_next(scene: Scene) -> None:
    # what differs between logs is how they are cut
    breaks = (1,) if "LOG_URI" in scene.server.env else (0, 1, 2)
    async with scene.log() as (log, settings):
        for after in breaks:
            await asyncio.to_thread(scene.thread, f"broken off {after}")
            now = datetime.now(UTC)
            with pytest.raises(LogUnavailable, match="broken off"):
                await retention.cut(Breaks(log, after), settings, now, nobody_looks)
            report = await swap.verify(log, settings, nobody_looks)
            assert report.comparison is not None and report.comparison.same, report.comparison
            done = await retention.cut(log, settings, now, nobody_looks)
            assert done.done or after == 2, "the topics are cut before the snapshots that are replaced"
            # (of commands, what the decider has state_of by now goes)
            left = await retention.plan(log, settings, now)
            assert all(
                cut == left.starts[partition] for partition, cut in left.cuts.items() if partition[0] != "commands"
            )


def test_nothing_is_cut_when_the_live_read_model_differs(scene: Scene) -> None:
    thread = scene.thread("spoilt")

    async def spoil(value: str | None) -> None:
        connection = await asyncpg.connect(EmbeddedPostgres(scene.server.data).uri)
        statement = f"UPDATE {LIVE}.threads SET ttl_strategy = $2 WHERE thread_id = $1"
        await connection.execute(statement, thread, value)
        await connection.close()

    asyncio.run(spoil("spoilt"))
    done = scene.cut()
    assert done.code == 1 and "ttl_strategy" in done.out and "Nothing was cut" in done.out, done
    assert scene.call("GET", f"/threads/{thread}/events")["events"][0]["time"] is not None
    asyncio.run(spoil(None))


def test_a_read_model_that_is_lost_comes_back_from_the_snapshot_and_the_rest(scene: Scene) -> None:
    scene.thread("in the snapshot")
    scene.cut_here()
    scene.run(scene.seen()["threads"][0]["thread_id"], "after the cut")
    seen = scene.seen()
    scene.server.stop()

    async def lose() -> None:
        server = EmbeddedPostgres(scene.server.data)
        await server.start()
        try:
            connection = await asyncpg.connect(server.uri)
            await connection.execute(f"DROP SCHEMA {LIVE} CASCADE")
            await connection.close()
        finally:
            await server.stop()

    asyncio.run(lose())
    scene.server.start()
    scene.caught_up()
    assert scene.seen() == seen
    scene.run(seen["threads"][0]["thread_id"], "still here")
