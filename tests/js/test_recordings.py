"""The recorded exchanges of the wire contract, replayed against the sample graphs in TypeScript: what differs is the library's, and listed.

The recordings are of the same graphs in Python. ``known-differences.txt`` names each exchange that differs, with keys of `REASONS`: every
single difference of it must be one that a key names, and every key must name one. What differs for Python graphs too is listed in
``tests/contract`` and left out here.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.replay import HERE as CONTRACT
from tests.contract.replay import RECORDINGS, Exchange, Replay, load, read_list
from tests.stack.server import LiveServer

FILES = ("runs", "threads", "streaming", "multitask", "cancel")
REPLAY_LIMIT_S = 500.0
KNOWN = Path(__file__).with_name("known-differences.txt")


class Reason(NamedTuple):
    why: str
    pattern: str


ABSENT, ADDED = "missing", "not in the recording"
_STREAMED = r"sse\[\d+\]\.data\.(payload\.)?"

REASONS: dict[str, Reason] = {
    "integration": Reason(
        "the library notes in the metadata that it gives to nodes and streams what made them",
        rf".*metadata\.ls_integration: {ADDED}",
    ),
    "given": Reason(
        "what the library tells a node of its run: paths and triggers as lists, no checkpoint, a limit always",
        rf"body\.saw_(configurable\.checkpoint_(map|id): {ABSENT}|metadata\.\w+: {ADDED}|recursion_limit: 25, recorded null)",
    ),
    "config": Reason(
        "the library streams checkpoints and tasks with the whole config, with paths of tasks, and without empty members",
        _STREAMED
        + rf"((parent_)?config\.(metadata|recursion_limit|tags|run_name): {ADDED}"
        + rf"|tasks\[\d+\]\.(path: {ADDED}|state: {ABSENT})|metadata\.\w+: {ADDED}|interrupts: {ADDED})",
    ),
    "message": Reason(
        "the library's messages leave out members without a value, and have ids of another form",
        rf".*messages\[\d+\](\[\d+\])?\.((name|usage_metadata|artifact|status|tool_call_chunks): ({ABSENT}|{ADDED})|id: .*)",
    ),
    "last_chunk": Reason(
        "the library of Python ends each message by an empty chunk, and the one of JavaScript does not", r"events \[.*"
    ),
    "text": Reason(
        "an error, or an object in a text, is written as the language writes it",
        r".*(\.error: \"\w+: .*\", recorded \"\w+\(.*|: \"draft of D -> \[object Object\]\".*)",
    ),
    "events": Reason(
        "`streamEvents` of the library has other steps, names and members than `astream_events` of Python's",
        _STREAMED + ".*",
    ),
    "untyped": Reason(
        "adding a text to a number is an error in Python and a text in JavaScript: an update is accepted that was 500, "
        "and whatever comes after it has one checkpoint more",
        r"(status 200, recorded 500|header content-type: .*|body.*)",
    ),
    "updated_subgraph": Reason(
        "after an update of an interrupted subgraph's state the library asks again",
        rf"body\.(trail: 1 .*|leaf_said: {ABSENT})",
    ),
    "goto": Reason(
        "a command that goes to a node past an interrupt runs it in the library, beside the interrupt",
        rf"body\.final: {ADDED}",
    ),
    "interrupt_values": Reason("the library streams the values once more at an interrupt", r"events \[.*"),
}


def known_differences() -> dict[str, list[str]]:
    """Label of an exchange -> keys of `REASONS`."""
    return {label: [key.strip() for key in keys.split(",")] for label, keys in read_list(KNOWN).items()}


@pytest.fixture(scope="module")
def exchanges(server: LiveServer) -> list[Exchange]:
    elsewhere = {**read_list(CONTRACT / "known-differences.txt"), **read_list(CONTRACT / "noise.txt")}
    cases = load([RECORDINGS / f"{name}.jsonl" for name in FILES], "langgraph.json")

    async def replay() -> list[Exchange]:
        player = Replay(server.url)
        async with asyncio.timeout(REPLAY_LIMIT_S), player.receiver():
            return await player.all(cases)

    return [exchange for exchange in asyncio.run(replay()) if exchange.label not in elsewhere]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_exchange_answers_as_recorded_of_python_but_for_what_the_libraries_do_otherwise(
    exchanges: list[Exchange],
) -> None:
    known = known_differences()
    assert len(exchanges) > 400
    unexplained, stale = [], []
    for exchange in exchanges:
        keys = known.get(exchange.label, [])
        for difference in exchange.differences:
            if not any(re.fullmatch(REASONS[key].pattern, difference, re.DOTALL) for key in keys):
                unexplained.append(f"{exchange.label}: {exchange.what}\n    {difference}")
        for key in keys:
            if not any(re.fullmatch(REASONS[key].pattern, each, re.DOTALL) for each in exchange.differences):
                stale.append(f"{exchange.label}: {key}")
    assert not unexplained, "These differ, and no reason says why:\n" + "\n".join(unexplained)
    assert not stale, f"These no longer differ so; remove them from {KNOWN.name}:\n" + "\n".join(stale)


def test_every_listed_difference_has_a_reason_and_every_reason_a_difference() -> None:
    known = known_differences()
    assert {key for keys in known.values() for key in keys} == set(REASONS)
