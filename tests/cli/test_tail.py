"""`langlog log tail`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from langlog_backbone.log import Log, NewRecord, Record, open_log
from langlog_backbone.operation.record_view import RecordFilter
from langlog_backbone.process.settings import Settings
from langlog_schemas import commands, envelope, events

WAIT_S = 120.0


@pytest_asyncio.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    log = open_log(Settings(log_uri=f"sqlite://{tmp_path}/log.sqlite"))
    await log.start()
    yield log
    await log.stop()


def record(topic: str, key: str, type: str, value: bytes = b"{}", content: str = envelope.JSON_CONTENT) -> NewRecord:
    headers = envelope.headers(
        id=f"id-{key}-{type}",
        type=type,
        source="/langlog/test",
        time="2025-01-01T00:00:00.000000+00:00",
        subject=key,
        content_type=content,
    )
    return NewRecord(topic, key, value, headers)


def read(record: NewRecord) -> Record:
    return Record(record.topic, 0, 0, record.key, record.value, record.headers)


def command(path: Path, *options: str) -> tuple[list[str], dict[str, str]]:
    env = {**os.environ, "LOG_URI": f"sqlite://{path}/log.sqlite", "PYTHONUNBUFFERED": "1"}
    return [sys.executable, "-m", "langlog", "log", "tail", *options], env


async def output(path: Path, *options: str) -> list[str]:
    words, env = command(path, "--no-follow", *options)
    finished = await asyncio.to_thread(subprocess.run, words, env=env, capture_output=True, text=True, timeout=WAIT_S)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


async def test_without_following_it_prints_what_is_there_in_order_and_ends(log: Log, tmp_path: Path) -> None:
    await log.append([record(events.RUN_EVENTS, "one", f"test.n{n}.v1") for n in range(3)])
    lines = [x.split() for x in await output(tmp_path)]
    place = f"run-events/{log.partition_of('one')}@"
    assert [x[0] for x in lines] == [place + str(n) for n in range(3)]
    assert [x[2] for x in lines] == [f"test.n{n}.v1" for n in range(3)]
    assert all(x[1] == "2025-01-01T00:00:00.000000+00:00" and x[3] == "one" for x in lines)


async def test_an_empty_log_has_nothing_to_print(log: Log, tmp_path: Path) -> None:
    assert await output(tmp_path) == []


async def test_topic_key_and_type_choose_what_is_printed(log: Log, tmp_path: Path) -> None:
    await log.append(
        [
            record(events.RUN_EVENTS, "one", "run.succeeded.v1"),
            record(events.RUN_EVENTS, "two", "run.created.v1"),
            record(events.ASSISTANT_EVENTS, "one", "assistant.created.v1"),
            record(commands.TOPIC, "one", "run.create.v1"),
        ]
    )
    assert len(await output(tmp_path)) == 4
    assert [x.split()[2] for x in await output(tmp_path, "--topic", "commands")] == ["run.create.v1"]
    assert [x.split()[2] for x in await output(tmp_path, "--key", "two")] == ["run.created.v1"]
    assert [x.split()[2] for x in await output(tmp_path, "--type", "run.succeeded")] == ["run.succeeded.v1"]


async def test_as_json_each_line_is_one_record_with_its_body(log: Log, tmp_path: Path) -> None:
    frames = events.RunFrames(thread_id="t", run_id="r", attempt=1, first_sequence=0, frames=b"\x00\xff")
    await log.append([record(events.RUN_EVENTS, "t", "run.frames.v1", events.encode(frames), envelope.MSGPACK_CONTENT)])
    await log.append(
        [record(events.RUN_EVENTS, "t", "test.v1", b'{"a":[1]}'), record(events.RUN_EVENTS, "t", "x.v1", b"{")]
    )
    collected: list[dict[str, Any]] = [json.loads(x) for x in await output(tmp_path, "--json")]
    assert [x["type"] for x in collected] == ["run.frames.v1", "test.v1", "x.v1"]
    assert collected[0]["data"]["frames"] == "AP8="
    assert collected[1]["data"] == {"a": [1]}
    assert collected[2]["data"] == "ew==", "a body that cannot be read is shown as it is"
    assert collected[1]["headers"]["ce_subject"] == "t"


async def test_following_prints_records_as_they_arrive_and_ends_quietly_on_ctrl_c(log: Log, tmp_path: Path) -> None:
    await log.append([record(events.RUN_EVENTS, "one", "old.v1")])
    words, env = command(tmp_path, "--from-start")
    process = await asyncio.create_subprocess_exec(
        *words,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"old.v1" in await asyncio.wait_for(process.stdout.readline(), WAIT_S)
    await log.append([record(events.RUN_EVENTS, "two", "new.v1")])
    assert b"new.v1" in await asyncio.wait_for(process.stdout.readline(), WAIT_S)
    process.send_signal(signal.SIGINT)
    _, said = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert b"Traceback" not in said
    assert process.returncode in (0, 1)


def test_types_are_matched_with_and_without_version_and_by_pattern() -> None:
    succeeded = read(record(events.RUN_EVENTS, "one", "run.succeeded.v1"))
    for wanted in ("run.succeeded", "run.succeeded.v1", "run.*", "*.v1"):
        assert RecordFilter((), frozenset(), (wanted,)).has(succeeded)
    for unwanted in ("run.success", "run.succeeded.v2", "succeeded"):
        assert not RecordFilter((), frozenset(), (unwanted,)).has(succeeded)


@pytest.mark.parametrize("options", [("--data-dir", "nowhere"), ()])
def test_looking_at_a_log_that_is_not_there_says_so_and_makes_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    words = [sys.executable, "-m", "langlog", "log", "tail", *options]
    env = {k: v for k, v in os.environ.items() if k != "LOG_URI" and not k.startswith("LANGLOG_")}
    finished = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S)
    assert finished.returncode == 1
    assert finished.stderr.startswith("langlog: there is no log in")
    assert len(finished.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
