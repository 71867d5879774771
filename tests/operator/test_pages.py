"""The operators' API, which tenants may not use; on both logs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from langlog.whereabouts import log_alone
from langlog_backbone.log import NewRecord
from langlog_backbone.process.environment import read_settings
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd
from langlog_schemas import envelope

from tests.stack.server import LiveServer, kafka_env

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
LIMIT_S = 120.0


class Scene:
    """A server with two tenants, one of whom has a finished run."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.thread_id = str(self.call("POST", "/threads", {}, "alice").json()["thread_id"])
        answer = self.call(
            "POST", f"/threads/{self.thread_id}/runs/wait", {"assistant_id": "steps", "input": {"n": 1}}, "alice"
        )
        self.run_id = answer.headers["content-location"].rpartition("/")[2]

    def call(
        self, method: str, path: str, body: Any = None, who: str | None = "operator", *, stream: bool = False
    ) -> requests.Response:
        headers = ({} if who is None else {"authorization": who}) | ({"accept": "text/event-stream"} if stream else {})
        return requests.request(
            method, self.server.url + path, json=body, headers=headers, timeout=LIMIT_S, stream=stream
        )

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def append(self, record: NewRecord) -> None:
        """Append a record like another process."""

        async def append() -> None:
            async with log_alone(read_settings(environ=self.server.env, data_dir=self.server.data)) as log:
                await log.append([record])

        asyncio.run(append())


def until_true(look: Callable[[], bool]) -> None:
    """Look until it is so: nothing tells a client of Redis' or the read model's state."""
    until = time.monotonic() + LIMIT_S
    while not look():
        assert time.monotonic() < until, "it has not come about in time"
        time.sleep(0.1)


def events(answer: requests.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in answer.iter_lines(decode_unicode=True):
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    with LiveServer(PROJECT, tmp_path_factory.mktemp(f"operator-{request.param}"), env).up() as server:
        yield Scene(server)


PAGES = [
    ("GET", "/operator/health"),
    ("GET", "/operator/log/records"),
    ("GET", "/operator/log/records/commands/0/0"),
    ("GET", "/operator/log/stream"),
    ("GET", "/operator/dead-letters"),
    ("GET", "/operator/dead-letters/records?key=x"),
    ("POST", "/operator/dead-letters/retry"),
    ("POST", "/operator/dead-letters/drop"),
    ("GET", "/operator/webhooks"),
    ("POST", "/operator/webhooks/retry"),
]


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_tenant_sees_nothing_of_the_system(scene: Scene, method: str, path: str) -> None:
    body = {"key": "x", "origin": "commands-0-0"} if method == "POST" else None
    refused = scene.call(method, path, body, "alice")
    assert refused.status_code == 403 and "langlog:operator" in refused.json()["detail"]
    assert scene.call(method, path, body, None).status_code == 401


def test_the_health_view_names_workers_readers_and_what_waits(scene: Scene) -> None:
    health = scene.get("/operator/health")
    assert health["ready"] is True
    (worker,) = health["workers"]
    assert worker["lease_s"] > 0 and set(worker["about"]["graphs"]) == {"steps", "hangs"}

    def groups() -> set[tuple[str, str]]:
        return {(g["group"].partition(" ")[0], g["topic"]) for g in scene.get("/operator/health")["groups"]}

    until_true(lambda: {("deciders", "commands"), ("projection", "run-events")} <= groups())
    assert health["webhooks"] == [] and health["runs"]["pending"] == 0


def test_the_log_is_read_from_and_to_any_time_that_can_be_written(scene: Scene) -> None:
    for first, last in (
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"),
        ("0001-01-01T00:00:00+14:00", "9999-12-31"),
    ):
        times = {"first": quote(first), "last": quote(last)}
        assert scene.get("/operator/log/records?limit=5&from={first}&to={last}".format(**times))["records"]
        assert scene.get("/operator/log/records?limit=5&from={last}".format(**times))["records"] == []
        assert scene.get("/operator/log/records?limit=5&to={first}".format(**times))["records"] == []


def test_a_held_run_stands_with_its_worker(scene: Scene) -> None:
    run = scene.call("POST", "/runs", {"assistant_id": "hangs", "input": {}}, "alice").json()

    def held() -> bool:
        (worker,) = scene.get("/operator/health")["workers"]
        return {"run_id": run["run_id"], "attempt": 1} in worker["runs"]

    until_true(held)
    with scene.call("GET", "/operator/health", stream=True) as answer:
        stream = events(answer)
        first, second = next(stream), next(stream)
    assert first[0] == second[0] == "health" and second[1]["at"] > first[1]["at"]
    scene.call("POST", f"/threads/{run['thread_id']}/runs/{run['run_id']}/cancel?wait=true", None, "alice")


def test_the_records_of_a_thread_are_found_with_their_bodies(scene: Scene) -> None:
    page = scene.get(f"/operator/log/records?key={scene.thread_id}&limit=500")
    types = [record["type"] for record in page["records"]]
    assert types[-1] == "thread.create.v1" or types[-1] == "thread.created.v1"
    assert {"run.create.v1", "run.created.v1", "checkpoint.steps.v1", "run.succeeded.v1"} <= set(types)
    assert page["cursor"] is None
    record = page["records"][0]
    path = f"/operator/log/records/{record['topic']}/{record['partition']}/{record['offset']}"
    assert scene.get(path) == record
    assert scene.call("GET", path.replace(record["topic"], "no-topic")).status_code == 422
    assert scene.call("GET", f"/operator/log/records/commands/0/{10**15}").status_code == 404
    assert scene.call("GET", "/operator/log/records/commands/99/0").status_code == 404


@pytest.mark.parametrize(
    "query", ["topic=nothing", "from=yesterday", "cursor=%F0%9F", "limit=many", "key=" + "a," * 60]
)
def test_a_search_that_means_nothing_is_refused(scene: Scene, query: str) -> None:
    answer = scene.call("GET", f"/operator/log/records?{query}")
    assert answer.status_code in (400, 422) and answer.json()["detail"]


def test_a_tail_shows_a_run_as_it_happens(scene: Scene) -> None:
    begin = scene.get("/operator/log/records?limit=1")["records"][0]["time"].replace("+", "%2B")
    with scene.call("GET", f"/operator/log/stream?topic=run-events&type=run.&from={begin}", stream=True) as answer:
        stream = events(answer)
        run = scene.call("POST", "/runs/wait", {"assistant_id": "steps", "input": {"n": 1}}, "alice")
        run_id = run.headers["content-location"].rpartition("/")[2]
        seen: list[str] = []
        for _, records in stream:
            seen += [record["type"] for record in records if record["data"].get("run_id") == run_id]
            if "run.succeeded.v1" in seen:
                break
    assert seen[0] == "run.created.v1"


def test_why_explains_a_run_to_whom_may_read_it(scene: Scene) -> None:
    path = f"/threads/{scene.thread_id}/runs/{scene.run_id}/why"
    answer = scene.call("GET", path, who="alice").json()
    assert answer["lines"][0].startswith("The run is over: success")
    assert scene.call("GET", path, who="bob").status_code == 404
    assert scene.call("GET", f"/threads/{scene.thread_id}/runs/{new_id()}/why", who="alice").status_code == 404


def test_a_replay_compares_step_by_step_and_appends_nothing(scene: Scene) -> None:
    path = f"/threads/{scene.thread_id}/runs/{scene.run_id}"
    before = scene.get(f"/operator/log/records?key={scene.thread_id}&limit=500")["records"]
    with scene.call("POST", f"{path}/replay", {}, "alice", stream=True) as answer:
        assert answer.status_code == 200
        parts = list(events(answer))
    assert [name for name, _ in parts] == ["began", "step", "step", "step", "end"]
    assert parts[-1][1]["same"] is True
    assert [node["name"] for _, step in parts[1:-1] for node in step["nodes"]] == ["__start__", "one"]
    assert scene.get(f"/operator/log/records?key={scene.thread_id}&limit=500")["records"] == before


def test_a_replay_needs_the_right_to_read_the_run_and_to_make_it_again(scene: Scene) -> None:
    path = f"/threads/{scene.thread_id}/runs/{scene.run_id}/replay"
    assert scene.call("POST", path, {}, "bob").status_code == 404
    own = str(scene.call("POST", "/threads", {}, "reader").json()["thread_id"])
    assert scene.call("POST", f"/threads/{own}/runs/{scene.run_id}/replay", {}, "reader").status_code == 404
    assert scene.call("POST", path, {"timeout": 0}, "alice").status_code == 422


def test_a_replay_of_a_run_that_never_began_is_refused_with_the_reason(scene: Scene) -> None:
    body = {"assistant_id": "steps", "input": {}, "after_seconds": 3600}
    run = scene.call("POST", f"/threads/{scene.thread_id}/runs", body, "alice").json()
    path = f"/threads/{scene.thread_id}/runs/{run['run_id']}"
    with scene.call("POST", f"{path}/replay", {}, "alice", stream=True) as answer:
        parts = list(events(answer))
    assert parts[-1][0] == "refused" and "never dispatched" in parts[-1][1]["detail"]
    scene.call("DELETE", path, None, "alice")


def test_a_replay_that_goes_on_without_end_is_stopped_when_its_time_is_over(scene: Scene) -> None:
    thread_id = scene.call("POST", "/threads", {}, "alice").json()["thread_id"]
    run = scene.call("POST", f"/threads/{thread_id}/runs", {"assistant_id": "hangs", "input": {}}, "alice").json()
    path = f"/threads/{thread_id}/runs/{run['run_id']}"
    until_true(lambda: scene.call("GET", path, who="alice").json()["status"] == "running")
    scene.call("POST", f"{path}/cancel?wait=true", None, "alice")
    with scene.call("POST", f"{path}/replay", {"timeout": 5}, "alice", stream=True) as answer:
        parts = list(events(answer))
    assert parts[-1][0] == "refused" and "has not ended within 5 s" in parts[-1][1]["detail"]


def test_a_parked_key_is_shown_retried_and_dropped(scene: Scene) -> None:
    key = new_id()
    for body in (b"{broken", b'{"thread_id":"%b"}' % key.encode()):
        headers = envelope.headers(
            id=new_id(),
            type=cmd.CreateThread.TYPE,
            source="/test",
            time="2026-01-01T00:00:00.000000+00:00",
            subject=key,
        )
        scene.append(NewRecord(cmd.TOPIC, key, body, headers))
    until_true(lambda: any(one["records"] == 2 for one in scene.get("/operator/dead-letters") if one["key"] == key))
    assert "parked" in json.dumps(scene.get("/operator/health")["findings"])
    first, second = scene.get(f"/operator/dead-letters/records?key={key}")
    assert (first["state"], second["state"]) == ("bad", "behind") and first["error"]
    again = scene.call("POST", "/operator/dead-letters/retry", {"key": key})
    assert again.status_code == 409 and first["origin"] in again.json()["detail"]
    other = scene.call("POST", "/operator/dead-letters/drop", {"key": key, "origin": second["origin"]})
    assert other.status_code == 409
    dropped = scene.call("POST", "/operator/dead-letters/drop", {"key": key, "origin": first["origin"]})
    assert dropped.status_code == 200, dropped.text
    assert dropped.json()["key"] == key and dropped.json()["handled"] >= 1
    assert all(one["key"] != key for one in scene.get("/operator/dead-letters"))
    released = scene.get(f"/operator/log/records?key={key}&type=parked.release")["records"]
    assert {record["headers"].get("ce_actor") for record in released} == {"operator"}
    assert scene.call("POST", "/operator/dead-letters/retry", {"key": key}).status_code == 404
