"""A resumable stream that is cut and taken up again is, byte for byte in data, the stream that was never cut."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.loss.cluster import Cluster
from tests.streams.reading import Client, Event

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVENTS = 60
TALK: dict[str, Any] = {"events": EVENTS, "pause": 0.02, "said": []}
LOUD: dict[str, Any] = {
    "stream_mode": ["values", "updates", "custom"],
    "stream_subgraphs": True,
    "stream_resumable": True,
}

FEW = hypothesis_settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
FEWER = hypothesis_settings(FEW, max_examples=4)
"""Fewer examples: if Redis loses a dispatched run, the scheduler takes a while to detect it."""
cuts = st.lists(st.integers(1, 25), max_size=6)


def fresh(http: aiohttp.ClientSession) -> Client:
    return Client(http, str(uuid.uuid4()))


def ticks(events: list[Event]) -> list[int]:
    return [event.json["n"] for event in events if event.name.startswith("custom|")]


async def reached(client: Client, run: str, count: int) -> None:
    """Return once the run has sent so many events."""
    await client.read(f"runs/{run}/stream", count=count)


@given(cuts=cuts)
@FEW
async def test_a_stream_cut_at_random_points_is_the_uncut_one(http: aiohttp.ClientSession, cuts: list[int]) -> None:
    client = fresh(http)
    run = await client.begin("talker", TALK, **LOUD)
    path = f"runs/{run}/stream"
    (uncut, _), pieces = await asyncio.gather(client.read(path), client.read_in_pieces(path, cuts, run=run))
    assert pieces == uncut
    assert ticks(uncut) == list(range(EVENTS))
    assert uncut[0].name == "metadata"
    assert len({event.id for event in uncut}) == len(uncut)


@given(cuts=cuts, wipes=st.lists(st.integers(1, EVENTS), min_size=1, max_size=2, unique=True))
@FEW
async def test_a_wipe_of_redis_costs_a_stream_nothing(
    http: aiohttp.ClientSession, cluster: Cluster, cuts: list[int], wipes: list[int]
) -> None:
    client = fresh(http)
    run = await client.begin("talker", TALK, **LOUD)
    path = f"runs/{run}/stream"
    uncut = asyncio.create_task(client.read(path))
    pieces = asyncio.create_task(client.read_in_pieces(path, cuts, run=run))
    for place in sorted(wipes):
        await reached(client, run, place)
        await cluster.kill("redis")
    assert await pieces == (await uncut)[0]
    assert ticks((await uncut)[0]) == list(range(EVENTS))


@given(places=st.lists(st.integers(0, EVENTS), min_size=1, max_size=4))
@FEW
async def test_a_stream_that_is_over_is_read_from_its_recording(
    http: aiohttp.ClientSession, cluster: Cluster, places: list[int]
) -> None:
    client = fresh(http)
    run = await client.begin("talker", {**TALK, "pause": 0}, **LOUD)
    path = f"runs/{run}/stream"
    whole, _ = await client.read(path)
    await client.join(run)
    await cluster.kill("redis")
    assert (await client.read(path))[0] == whole
    for place in places:
        assert (await client.read(path, whole[place].id))[0] == whole[place + 1 :]


async def test_a_stream_goes_on_after_a_restart_of_the_gateway(http: aiohttp.ClientSession, cluster: Cluster) -> None:
    client = fresh(http)
    run = await client.begin("talker", {**TALK, "events": 300, "pause": 0.05}, **LOUD)
    path = f"runs/{run}/stream"
    pieces = asyncio.create_task(client.read_in_pieces(path, [20, 30], run=run))
    await reached(client, run, 70)
    await asyncio.to_thread(cluster.processes["gateway"].kill)
    await asyncio.to_thread(cluster.processes["gateway"].start)
    await reached(client, run, 150)
    gateway = cluster.processes["gateway"]
    assert await asyncio.to_thread(gateway.stop) == 0
    await cluster.kill("redis")
    await asyncio.to_thread(gateway.start)
    result = await pieces
    assert ticks(result) == list(range(300))
    whole, _ = await client.read(path)
    assert result == whole


async def test_a_stream_ends_with_its_run_while_the_gateway_was_away(
    http: aiohttp.ClientSession, cluster: Cluster
) -> None:
    client = fresh(http)
    run = await client.begin("talker", TALK, **LOUD)
    path = f"runs/{run}/stream"
    pieces = asyncio.create_task(client.read_in_pieces(path, [], run=run))
    await reached(client, run, 20)
    gateway = cluster.processes["gateway"]
    await asyncio.to_thread(gateway.kill)
    await cluster.witness.until(lambda: run in cluster.witness.finals)
    await asyncio.to_thread(gateway.start)
    assert ticks(await pieces) == list(range(EVENTS))
    assert await pieces == (await client.read(path))[0]


# --- the stream of a thread --------------------------------------------------------------------


def done(run: str) -> Any:
    """Return a function: whether an event is the closing one of the run."""
    return lambda event: event.name == "metadata" and event.json == {"status": "run_done", "run_id": run}


@given(cuts=cuts, wipe=st.integers(0, 2 * EVENTS), late=st.booleans())
@FEWER
async def test_the_stream_of_a_thread_is_taken_up_again_anywhere(
    http: aiohttp.ClientSession, cluster: Cluster, cuts: list[int], wipe: int, late: bool
) -> None:
    client = fresh(http)
    first = await client.begin("talker", TALK, **LOUD)
    second = await client.begin("talker", TALK, **LOUD)
    if late:
        await client.join(second)
        await cluster.kill("redis")
    uncut = asyncio.create_task(client.read("stream", "-", until=done(second)))
    pieces = asyncio.create_task(client.read_in_pieces("stream", cuts, "-", until=done(second)))
    if not late:
        await client.read("stream", "-", until=done(second), count=wipe + 1)
        await cluster.kill("redis")
    whole, _ = await uncut
    assert await pieces == whole
    assert ticks(whole) == 2 * list(range(EVENTS))
    ends = [event.json["run_id"] for event in whole if event.name == "metadata" and "status" in event.json]
    assert ends == [first, second]
    ids = [tuple(map(int, event.id.split("-"))) for event in whole if event.id is not None]
    assert ids == sorted(set(ids)), "ids grow along the thread"
    assert len(ids) == len(whole)
