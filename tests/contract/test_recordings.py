"""The recorded exchanges of the wire contract, replayed on both logs: what differs is listed, and the list only shrinks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.contract.replay import HERE, RECORDINGS, Cases, Exchange, Replay, load, read_list
from tests.stack.releases import current_langgraph
from tests.stack.server import LiveServer, kafka_env

CONFIGS = ("langgraph.json", "langgraph.auth.json", "langgraph.http.json")
"""Variants of the configuration: everything, custom authentication, a custom app with prefix and CORS."""
KNOWN = HERE / "known-differences.txt"
NOISE = HERE / "noise.txt"
FLAKY = "flaky:"
"""A reason that begins so: the exchange sometimes matches."""
CORE = ("assistants", "threads", "runs", "streaming", "cancel", "multitask")
CORE_SHARE = 0.9
"""Minimum share of the core files' exchanges whose responses are as recorded."""
REPLAY_LIMIT_S = 500.0
EXCHANGES_LIMIT_S = 1800
"""Seconds for all variants on one log, including their servers' starts."""

CASES = {config: load(sorted(RECORDINGS.glob("*.jsonl")), config) for config in CONFIGS}
OF_THE_LIBRARY = {f"{name}.jsonl" for name in ("auth", "http_variant", "protocol", "runs", "streaming", "threads")}
"""Files whose exchanges show streams and metadata as the library makes them."""
FILES = sorted({file for cases in CASES.values() for file, _ in cases})


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def exchanges(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    """Return every exchange of every file, replayed once per log, each variant on a server of its own."""
    collected: list[Exchange] = []
    for config, cases in CASES.items():
        env = kafka_env(request.getfixturevalue("kafka")) if request.param == "kafka" else {}
        server = LiveServer(HERE / "graphs" / config, tmp_path_factory.mktemp(f"contract-{request.param}"), env)
        with server.up():
            collected += asyncio.run(replay(server.url, cases))
    noise = read_list(NOISE)
    return [exchange for exchange in collected if exchange.label not in noise]


async def replay(url: str, cases: Cases) -> list[Exchange]:
    player = Replay(url)
    async with asyncio.timeout(REPLAY_LIMIT_S), player.receiver():
        return await player.all(cases)


@pytest.mark.slow
@pytest.mark.timeout(EXCHANGES_LIMIT_S)
@pytest.mark.parametrize(
    "file", [pytest.param(file, marks=current_langgraph) if file in OF_THE_LIBRARY else file for file in FILES]
)
def test_a_recorded_file_answers_as_recorded_or_says_why_not(exchanges: list[Exchange], file: str) -> None:
    check([exchange for exchange in exchanges if exchange.file == file])


def check(own: list[Exchange]) -> None:
    """Check that every exchange is as recorded, or listed as different, and that every listed one still differs."""
    known = read_list(KNOWN)
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
@pytest.mark.timeout(EXCHANGES_LIMIT_S)
def test_nine_in_ten_core_exchanges_answer_as_recorded(exchanges: list[Exchange]) -> None:
    core = [exchange for exchange in exchanges if Path(exchange.file).stem in CORE]
    good = sum(not exchange.differences for exchange in core)
    assert good >= CORE_SHARE * len(core), f"{good} of {len(core)}"


def test_every_listed_difference_is_of_a_recorded_exchange_and_has_a_reason() -> None:
    labels = {f"{s['case']} {s['step']}" for cases in CASES.values() for steps in cases.values() for s in steps}
    for file in (KNOWN, NOISE):
        for label, reason in read_list(file).items():
            assert label in labels, f"{file.name}: {label} is not recorded"
            assert reason, f"{file.name}: {label} has no reason"
