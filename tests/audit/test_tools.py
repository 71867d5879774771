"""The command line on a live server, on both logs: show, state, export, groups, replay."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.stack.audit_events import each_step
from tests.stack.command_line import Done, carried_out_here, langlog_here
from tests.stack.server import LiveServer, kafka_env

PROJECT = Path(__file__).parent / "project" / "langgraph.json"
LIMIT_S = 180.0


class Scene:
    """A server, what happened on it, and the command line beside it."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.thread_id = str(self.call("POST", "/threads", {})["thread_id"])
        self.run_id = self.run("steps", {"total": 1})
        self.asked = self.run("asks", {"notes": []})
        self.answered = self.run("asks", None, command={"resume": "yes"})
        self.remembered = [self.run("memory", {}) for _ in range(2)]
        self.gone = self._wait("/runs/wait", {"assistant_id": "steps", "input": {"total": 5}})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, self.server.url + path, json=body, timeout=LIMIT_S)
        assert answer.ok, answer.text
        return answer.json()

    def run(self, graph: str, input: Any, **more: Any) -> str:
        return self._wait(f"/threads/{self.thread_id}/runs/wait", {"assistant_id": graph, "input": input, **more})

    def _wait(self, path: str, body: Any) -> str:
        answer = requests.post(self.server.url + path, json=body, timeout=LIMIT_S)
        assert answer.ok, answer.text
        return answer.headers["content-location"].rpartition("/")[2]

    def events(self, path: str) -> list[dict[str, Any]]:
        body: list[dict[str, Any]] = self.call("GET", f"{path}/events?limit=1000")["events"]
        return body

    def langlog(self, *words: str, code: int = 0) -> Done:
        done = langlog_here(self.server, *words)
        assert done.code == code, done
        return done


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    with LiveServer(PROJECT, tmp_path_factory.mktemp(f"audit-{request.param}"), env).up() as server:
        yield Scene(server)


def kinds(text: str) -> list[str]:
    """The second word of each line of a timeline."""
    return [line.split("  ")[-2 if line.endswith("  ") else 2].strip() for line in text.splitlines()[1:]]


def test_the_api_tells_all_that_happened_on_either_log(scene: Scene) -> None:
    events = scene.events(f"/threads/{scene.thread_id}")
    offsets = [e["position"]["offset"] for e in events]
    assert offsets == sorted(set(offsets))
    runs = {e["run_id"] for e in events if e["run_id"]}
    assert runs == {scene.run_id, scene.asked, scene.answered, *scene.remembered}
    written = [
        e for e in each_step(events) if e["type"] == "langlog.checkpoint.written.v1" and e["run_id"] == scene.run_id
    ]
    assert [w["data"]["metadata"]["step"] for w in written] == [-1, 0, 1, 2]
    assert set(written[2]["data"]["changed"]) >= {"total", "notes"}
    ends = [e for e in events if e["type"] == "langlog.run.succeeded.v1"]
    assert all(e["cause"]["type"] == "langlog.run.finish.v1" for e in ends)


def test_show_tells_a_run_line_by_line(scene: Scene) -> None:
    lines = scene.langlog("log", "show", scene.asked).out.splitlines()
    assert lines[0].startswith(f"run {scene.asked} on thread {scene.thread_id}, graph asks")
    printed = "\n".join(lines)
    for what in ("queued", "dispatched    attempt 1 (ready)", "started       attempt 1 on worker", "first: total"):
        assert what in printed
    assert "interrupt     ask" in printed
    assert "succeeded     attempt 1, thread interrupted" in lines[-1]


def test_show_as_json_is_what_the_api_shows(scene: Scene) -> None:
    shown = [json.loads(line) for line in scene.langlog("log", "show", scene.run_id, "--json").out.splitlines()]
    assert shown == scene.events(f"/threads/{scene.thread_id}/runs/{scene.run_id}")


def test_a_run_that_left_nothing_behind_is_found_by_scanning(scene: Scene) -> None:
    finished = scene.langlog("log", "show", scene.gone)
    assert "scanning the log" in finished.err
    assert "succeeded" in finished.out.splitlines()[-1]
    assert scene.langlog("log", "show", scene.gone, "--scan").out == finished.out
    nobody = scene.langlog("log", "show", scene.thread_id, code=1)
    assert "there is no run" in nobody.err and not nobody.out


def test_why_says_first_that_a_run_waits_for_a_human(scene: Scene) -> None:
    thread = str(scene.call("POST", "/threads", {})["thread_id"])
    path = f"/threads/{thread}/runs/wait"
    asked = scene._wait(path, {"assistant_id": "asks", "input": {"notes": []}})
    (interrupt,) = (one for many in scene.call("GET", f"/threads/{thread}")["interrupts"].values() for one in many)
    lines = scene.langlog("why", asked).out.splitlines()
    assert lines[0] == f"It waits for a human: 1 open interrupt on thread {thread}."
    assert lines[1].strip().startswith(f"{interrupt['id']}: ")
    assert f"POST /threads/{thread}/runs" in lines[2] and '"resume"' in lines[2]
    of_thread = scene.langlog("why", thread).out.splitlines()
    assert of_thread[0] == f"{thread} is a thread; this is about its run {asked}."
    assert (
        of_thread[1:4] == lines[:3]
    )  # below them may stand how far a decider's saved position is behind, which changes
    answered = scene._wait(path, {"assistant_id": "asks", "command": {"resume": "yes"}})
    assert "The run is over: success" in scene.langlog("why", asked).out
    assert scene.langlog("why", thread).out.startswith(f"{thread} is a thread; this is about its run {answered}.")


def test_an_id_of_another_kind_leads_to_what_was_meant(scene: Scene) -> None:
    for words in (["log", "show"], ["replay"], ["replay", "--dry"]):
        err = scene.langlog(*words, scene.thread_id, code=2 if "replay" in words else 1).err
        assert (
            f"{scene.thread_id} is a thread." in err
            and "scanning" not in err
            and scene.asked in err
            and scene.run_id in err
        )
    err = scene.langlog("log", "state", scene.run_id, code=1).err
    assert f"{scene.run_id} is a run of thread {scene.thread_id}." in err and "scanning" not in err
    assert "is a run of thread" in scene.langlog("log", "export", "--thread", scene.run_id).err
    nobody = "00000000-0000-0000-0000-000000000000"
    assert f"There is no run {nobody}" in scene.langlog("why", nobody, code=1).out


def test_tail_and_export_choose_by_the_same_words(scene: Scene) -> None:
    since = scene.events(f"/threads/{scene.thread_id}/runs/{scene.answered}")[0]["time"]
    for words in (
        ["--thread", scene.thread_id, "--type", "run.*", "--topic", "run-events", "--from", since],
        ["--key", scene.thread_id, "--type", "run.", "--topic", "run-events", "--from", since, "--to", "0s"],
    ):
        tailed = scene.langlog("log", "tail", "--no-follow", "--json", *words).out.splitlines()
        exported = scene.langlog("log", "export", *words).out.splitlines()
        assert sorted(tailed) == sorted(exported)
        assert scene.answered in exported[0] and not any(scene.asked in line for line in exported)


def test_a_thread_is_shown_as_of_a_time_and_a_position(scene: Scene) -> None:
    events = scene.events(f"/threads/{scene.thread_id}/runs/{scene.run_id}")
    end = events[-1]
    then = json.loads(scene.langlog("log", "state", scene.thread_id, "--as-of", str(end["position"]["offset"] - 1)).out)
    assert then["status"] == "busy" and then["runs"] == [{"run_id": scene.run_id, "attempt": 1}]
    after = json.loads(scene.langlog("log", "state", scene.thread_id, "--as-of", end["time"]).out)
    assert after["status"] == "idle" and after["runs"] == []
    assert after["values"] == {"total": 6, "notes": ["first", "second of 3"]}
    url = f"{scene.server.url}/threads/{scene.thread_id}/state"
    over_http = requests.get(url, params={"as_of": end["time"]}, timeout=LIMIT_S).json()
    assert over_http["values"] == after["values"]
    assert over_http["as_of"]["checkpoint_id"] == after["checkpoint_id"] == over_http["checkpoint"]["checkpoint_id"]
    middle = next(e for e in each_step(events) if e["data"] and e["data"].get("metadata", {}).get("step") == 1)
    over_http = requests.get(url, params={"as_of": middle["time"]}, timeout=LIMIT_S).json()
    assert over_http["values"] == {"total": 3, "notes": ["first"]} and over_http["next"] == ["second"]
    assert over_http["as_of"]["status"] == "busy"
    long_ago = requests.get(url, params={"as_of": "2020-01-01T00:00:00Z"}, timeout=LIMIT_S)
    assert long_ago.status_code == 404 and "did not exist then" in long_ago.json()["detail"]
    scene.langlog("log", "state", scene.thread_id, "--as-of", "2020-01-01", code=1)


def test_an_export_goes_on_where_it_was_interrupted(scene: Scene, tmp_path: Path) -> None:
    lines = scene.langlog("log", "export", "--thread", scene.thread_id).out.splitlines()
    records = [json.loads(line) for line in lines]
    assert {r["key"] for r in records} == {scene.thread_id} and {r["topic"] for r in records} == {
        "commands",
        "run-events",
    }
    positions = [(r["topic"], r["partition"], r["offset"]) for r in records]
    assert positions == sorted(set(positions))
    scanned = tmp_path / "scanned.jsonl"
    scene.langlog("log", "export", "--topic", "run-events", "--type", "run.", "-o", str(scanned))
    whole = scanned.read_text()
    assert {json.loads(x)["type"].split(".")[0] for x in whole.splitlines()} == {"run"}
    torn = tmp_path / "torn.jsonl"
    torn.write_text(whole[: len(whole) // 2])
    scene.langlog("log", "export", "--topic", "run-events", "--type", "run.", "-o", str(torn), "--resume")
    assert sorted(torn.read_text().splitlines()) == sorted(whole.splitlines())
    again = scene.langlog("log", "export", "-o", str(torn), code=2)
    assert "--resume" in again.err


def test_groups_shows_who_is_how_far(scene: Scene) -> None:
    rows = [json.loads(line) for line in scene.langlog("log", "groups", "--json").out.splitlines()]
    groups = {row["group"] for row in rows}
    assert any(group.startswith("projection langlog_v") for group in groups)
    projected = [x for x in rows if x["group"].startswith("projection") and x["topic"] == "run-events"]
    assert sum(x["end"] for x in projected) > 0 and all(x["lag"] == 0 for x in projected)
    table = scene.langlog("log", "groups").out
    assert table.splitlines()[0].split() == ["GROUP", "TOPIC", "PARTITIONS", "POSITION", "END", "LAG"]


def test_a_strangers_group_on_kafka_is_shown_with_its_lag(scene: Scene) -> None:
    import asyncio

    from langlog_backbone.log import open_log
    from langlog_backbone.process.environment import read_settings

    if "LOG_URI" not in scene.server.env:
        pytest.skip("on the embedded log there are no strangers")

    async def stranger() -> int:
        from aiokafka import AIOKafkaConsumer
        from aiokafka.structs import TopicPartition

        settings = read_settings(scene.server.env)
        log = open_log(settings)
        await log.start()
        ends = await log.end_offsets("run-events")
        partition = next(n for n, end in enumerate(ends) if end > 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.log_uri.removeprefix("kafka://"),
            group_id=f"{settings.topic_prefix}elsewhere",
            enable_auto_commit=False,
        )
        await consumer.start()
        place = TopicPartition(f"{settings.topic_prefix}run-events", partition)
        consumer.assign([place])
        await consumer.commit({place: 1})
        await consumer.stop()
        await log.stop()
        return ends[partition]

    end = asyncio.run(stranger())
    rows = [json.loads(line) for line in scene.langlog("log", "groups", "--json").out.splitlines()]
    mine = [x for x in rows if x["group"] == "elsewhere" and x["position"] == 1]
    assert [x["lag"] for x in mine] == [end - 1]


def replay(scene: Scene, *words: str, code: int) -> Done:
    """It has nothing to do with the kind of log but for one test: that saves the time of starting the others."""
    if "LOG_URI" in scene.server.env and scene.gone not in words:
        pytest.skip("the same on both logs")
    return scene.langlog("replay", *words, "--config", str(PROJECT), code=code)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run graphs here instead of in a process of their own, which would import everything anew for each."""

    monkeypatch.setattr("langlog_executor.replay.process.run_in_sandbox", carried_out_here)


@pytest.mark.usefixtures("in_process")
def test_the_same_code_gives_the_same_run_again_and_changes_nothing(scene: Scene) -> None:
    before = scene.langlog("log", "groups", "--json").out
    result = replay(scene, scene.run_id, code=0).out
    assert "first: same" in result and "second: same" in result
    assert result.splitlines()[-1] == "Replay matches the recorded run."
    asked = replay(scene, scene.asked, code=0).out
    assert "end: success, waits for a human" in asked
    replay(scene, scene.answered, code=0)
    ends = {(x["topic"], x["partition"]): x["end"] for x in map(json.loads, before.splitlines())}
    after = [json.loads(x) for x in scene.langlog("log", "groups", "--json").out.splitlines()]
    assert all(ends[x["topic"], x["partition"]] == x["end"] for x in after if (x["topic"], x["partition"]) in ends)


def test_other_code_is_shown_node_by_node(scene: Scene) -> None:
    other = f"{PROJECT.parent / 'steps.py'}:other"
    decoded = json.loads(replay(scene, scene.run_id, "--graph", other, "--json", code=1).out)
    nodes = {node["name"]: node for step in decoded["steps"] for node in step["nodes"]}
    assert nodes["first"]["verdict"] == "same" and nodes["second"]["verdict"] == "different"
    assert nodes["second"]["differences"] == [{"path": "total[0]", "recorded": "3", "replayed": "40"}]
    assert decoded["differences"] == [{"path": "total", "recorded": "6", "replayed": "43"}]


def test_steps_are_shown_as_they_are_done(scene: Scene, tmp_path: Path) -> None:
    if "LOG_URI" in scene.server.env:
        pytest.skip("the same on both logs")
    slow, go = tmp_path / "slow.py", tmp_path / "go"
    slow.write_text(WAITS.format(folder=str(PROJECT.parent), go=str(go)))
    words = ["replay", scene.run_id, "--graph", f"{slow}:graph", "--config", str(PROJECT)]
    process = subprocess.Popen(
        [sys.executable, "-m", "langlog", *words, "--data-dir", str(scene.server.data)],
        env=scene.server.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        lines = list(iter(process.stdout.readline, "    first: same\n"))
        assert lines[-1] == "step 1: same\n" and not any("second" in line for line in lines)
        go.touch()  # the second node waits for it
        rest = process.stdout.read().splitlines()
    assert rest[:2] == ["step 2: same", "    second: same"] and rest[-1] == "Replay matches the recorded run."
    assert process.returncode == 0


WAITS = """
import sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
import steps

def second(state):
    while not Path({go!r}).exists():
        time.sleep(0.01)
    return steps.second(state)

graph = steps._two("second", second)
"""


@pytest.mark.usefixtures("in_process")
def test_it_goes_on_from_a_checkpoint_of_the_run(scene: Scene) -> None:
    events = scene.events(f"/threads/{scene.thread_id}/runs/{scene.run_id}")
    middle = next(
        e["data"]["checkpoint_id"]
        for e in each_step(events)
        if e["data"] and e["data"].get("metadata", {}).get("step") == 1
    )
    printed = replay(scene, scene.run_id, "--checkpoint", middle, code=0).out
    assert "second: same" in printed and "first" not in printed
    assert "does not belong to run" in replay(scene, scene.run_id, "--from", "elsewhere", code=2).err


@pytest.mark.usefixtures("in_process")
def test_the_store_is_as_it_was_and_stays_as_it_is(scene: Scene) -> None:
    for run_id in scene.remembered:
        assert "not written to the store: notes/count" in replay(scene, run_id, code=0).out
    assert scene.call("GET", "/store/items?namespace=notes&key=count")["value"] == {"n": 2}


def test_a_stateless_run_is_run_again_from_the_log_alone(scene: Scene) -> None:
    assert "second: same" in replay(scene, scene.gone, code=0).out


def test_dry_folds_again_and_finds_what_was_tampered_with(scene: Scene) -> None:
    assert "as in the read model" in scene.langlog("replay", scene.run_id, "--dry").out
    tampered(scene, "UPDATE runs SET metadata = metadata || '{\"x\": 1}' WHERE run_id = $1")
    try:
        assert f"runs {scene.run_id} metadata" in scene.langlog("replay", scene.run_id, "--dry", code=1).out
    finally:
        tampered(scene, "UPDATE runs SET metadata = metadata - 'x' WHERE run_id = $1")


def tampered(scene: Scene, sql: str) -> None:
    import asyncio

    from langlog_backbone.embedded.servers import EmbeddedPostgres
    from langlog_backbone.postgres.database import connect_pool
    from langlog_backbone.process.settings import Settings

    async def change() -> None:
        uri = EmbeddedPostgres(scene.server.data).uri
        pool = await connect_pool(Settings(database_uri=uri), size=1)
        await pool.execute(sql, scene.run_id)
        await pool.close()

    asyncio.run(change())


def test_what_makes_no_sense_is_told_in_a_line(scene: Scene) -> None:
    for words in (
        ["log", "show", "x"],
        ["log", "state", "x"],
        ["replay", "x"],
        ["replay", scene.run_id, "--dry", "--strict"],
    ):
        assert "Error" in scene.langlog(*words, code=2).err
