"""The recorded exchanges of the wire contract, replayed on both logs: what differs is listed, and the list only shrinks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.replay import HERE, RECORDINGS, Exchange, Replay, load, read_list
from tests.stack.server import LiveServer, kafka_env

CONFIG = "langgraph.json"
"""The variant of the configuration replayed; authentication and the custom app have theirs."""
KNOWN = HERE / "known-differences.txt"
NOISE = HERE / "noise.txt"
FLAKY = "flaky:"
"""A reason that begins so: the exchange sometimes matches."""
CORE = ("assistants", "threads", "runs", "streaming", "cancel", "multitask")
CORE_SHARE = 0.9
"""Of the core files' exchanges at least this share answers as recorded."""
REPLAY_LIMIT_S = 240.0

CASES = load(sorted(RECORDINGS.glob("*.jsonl")), CONFIG)
FILES = sorted({file for file, _ in CASES})


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def exchanges(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Exchange]]:
    """Every exchange of every file, replayed once per log on a server of its own."""
    env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
    server = LiveServer(HERE / "graphs" / CONFIG, tmp_path_factory.mktemp(f"contract-{request.param}"), env)

    async def replay() -> list[Exchange]:
        player = Replay(server.url)
        async with asyncio.timeout(REPLAY_LIMIT_S), player.receiver():
            return await player.all(CASES)

    with server.up():
        found = asyncio.run(replay())
        yield [exchange for exchange in found if exchange.label not in read_list(NOISE)]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_a_recorded_file_answers_as_recorded_or_says_why_not(exchanges: list[Exchange], file: str) -> None:
    known = read_list(KNOWN)
    own = [exchange for exchange in exchanges if exchange.file == file]
    assert own
    new = [
        "\n    ".join([f"{exchange.label}: {exchange.what}", *exchange.differences[:6]])
        for exchange in own
        if exchange.differences and exchange.label not in known
    ]
    assert not new, "These exchanges no longer answer as recorded:\n" + "\n".join(new)
    mended = [
        exchange.label
        for exchange in own
        if not exchange.differences and not known.get(exchange.label, FLAKY).startswith(FLAKY)
    ]
    assert not mended, f"These answer as recorded now; remove them from {KNOWN.name}:\n" + "\n".join(mended)


@pytest.mark.slow
def test_nine_in_ten_core_exchanges_answer_as_recorded(exchanges: list[Exchange]) -> None:
    core = [exchange for exchange in exchanges if Path(exchange.file).stem in CORE]
    good = sum(not exchange.differences for exchange in core)
    assert good >= CORE_SHARE * len(core), f"{good} of {len(core)}"


def test_every_listed_difference_is_of_a_recorded_exchange_and_has_a_reason() -> None:
    labels = {f"{step['case']} {step['step']}" for steps in CASES.values() for step in steps}
    for file in (KNOWN, NOISE):
        for label, reason in read_list(file).items():
            assert label in labels, f"{file.name}: {label} is not recorded"
            assert reason, f"{file.name}: {label} has no reason"
