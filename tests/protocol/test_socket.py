"""One WebSocket: commands and events side by side, several subscriptions, limits, and how it is closed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.conftest import MakeStack, make_stack
from tests.protocol.conftest import LIMIT_S, MAX_MESSAGE_BYTES, MAX_SUBSCRIPTIONS, Pair
from tests.protocol.following import ALL, Socket, Thread, ThreadEvent, over, times

__all__ = ["make_stack"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW_READER = 4008
GOING_DOWN = 1012


@asynccontextmanager
async def opened(thread: Thread, path: str = "/stream/events", **more: Any) -> AsyncIterator[Socket]:
    async with thread.http.ws_connect(thread.path + path, max_msg_size=0, **more) as socket:
        yield Socket(socket)


async def closed(socket: Socket) -> int | None:
    """The code that the server closes with."""
    while await socket.receive() is not None:
        pass
    return socket.socket.close_code


async def test_a_socket_tells_what_a_stream_tells_and_takes_commands_besides(thread: Thread) -> None:
    async with opened(thread) as socket:
        await socket.command("subscription.subscribe", channels=ALL)
        started = await socket.command("run.start", assistant_id="asker", input={"text": "a"})
        assert not socket.events, "the answer comes before what the run tells"
        asked = next(event for event in await socket.follow() if event.method == "input.requested")
        answer = {"namespace": [], "interrupt_id": asked.data["interrupt_id"], "response": "b"}
        assert (await socket.command("input.respond", **answer))["result"] == {}
        await socket.follow()
        tree = (await socket.command("agent.getTree"))["result"]["tree"]
        assert tree == {"namespace": [], "status": "completed", "graph_name": "asker"}
        seen = socket.events
    assert started["result"].keys() == {"run_id"}
    assert seen == await thread.follow(times(2))
    assert len(await thread.get("/runs")) == 2


async def test_a_tree_names_the_graph_however_late_the_answer_to_the_command_comes(thread: Thread) -> None:
    """Runs as quick as these may be over before the connection hears that they were made."""
    async with opened(thread) as socket:
        for ended, graph in enumerate(("steps", "failing", "steps", "failing"), 1):
            if ended == 3:
                await socket.command("subscription.subscribe", channels=ALL)
            await socket.command("run.start", assistant_id=graph, input={"count": 1, "text": "a"})
            assert (await socket.command("agent.getTree"))["result"]["tree"]["graph_name"] == graph
            await thread.follow(times(ended))
            status = (await socket.command("agent.getTree"))["result"]["tree"]["status"]
            assert status == ("completed" if graph == "steps" else "failed")


async def test_each_event_comes_once_however_many_subscriptions_want_it(thread: Thread) -> None:
    await thread.start("steps", {"count": 3})
    whole = await thread.follow()
    async with opened(thread) as socket:
        first = await socket.command("subscription.subscribe", channels=["values"])
        second = await socket.command("subscription.subscribe", channels=["values", "lifecycle"])
        assert first["result"]["replayed_events"] == 4
        assert second["result"]["replayed_events"] == 2
        assert second["meta"]["applied_through_seq"] == whole[-1].seq
        assert sorted(event.seq for event in socket.events) == [event.seq for event in whole]
        socket.events.clear()
        await socket.command("subscription.unsubscribe", subscription_id=first["result"]["subscription_id"])
        await socket.command("run.start", assistant_id="steps", input={"count": 1, "n": 0})
        await socket.follow()
        assert [event.seq for event in socket.events] == list(range(whole[-1].seq + 1, whole[-1].seq + 5))
        await socket.command("subscription.unsubscribe", subscription_id=second["result"]["subscription_id"])
        gone = await socket.command("subscription.unsubscribe", subscription_id=second["result"]["subscription_id"])
        assert gone["error"] == "no_such_subscription"


async def test_a_subscription_goes_on_from_a_number_in_the_middle_of_a_run(thread: Thread) -> None:
    await thread.start("steps", {"count": 60, "pause": 0.02})
    await thread.follow(lambda event: event.data.get("n") == 20)
    async with opened(thread) as socket:
        await socket.command("subscription.subscribe", channels=ALL, since=10)
        result = await socket.whole()
    assert [event.seq for event in result] == list(range(11, 64))


async def test_a_connection_takes_its_run_up_again(thread: Thread) -> None:
    async with opened(thread) as socket:
        assert (await socket.command("subscription.reconnect", channels=["values"]))["error"] == "no_such_run"
        started = await socket.command("run.start", assistant_id="steps", input={"count": 2})
        whole = await thread.follow()
        run = started["result"]["run_id"]
        assert (await socket.command("subscription.reconnect", run_id=run))["error"] == "invalid_argument"
        again = await socket.command(
            "subscription.reconnect", run_id=run, channels=ALL, last_event_id=f"synth:{run}:lc||running"
        )
        assert again["result"] == {"restored": True, "missed_events": len(whole) - 1}
        assert socket.events == whole[1:]


async def test_what_is_no_command_is_answered_and_the_connection_stays(thread: Thread) -> None:
    async with opened(thread) as socket:
        await socket.socket.send_str("{")
        bad = await socket.receive()
        assert isinstance(bad, dict)
        assert bad["message"] == "Protocol commands must be valid JSON."
        await socket.socket.send_json([])
        bad = await socket.receive()
        assert isinstance(bad, dict)
        assert bad["error"] == "invalid_argument"
        assert (await socket.command("zzz"))["error"] == "unknown_command"
        assert (await socket.command("subscription.subscribe", channels=["zzz"]))["error"] == "invalid_argument"


async def test_subscriptions_and_messages_are_limited(thread: Thread) -> None:
    async with opened(thread) as socket:
        for _ in range(MAX_SUBSCRIPTIONS):
            assert (await socket.command("subscription.subscribe", channels=["values"]))["type"] == "success"
        over_limit = await socket.command("subscription.subscribe", channels=["values"])
        assert over_limit["error"] == "invalid_argument"
        await socket.socket.send_str("x" * (MAX_MESSAGE_BYTES + 1))
        assert await closed(socket) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_binary_messages_break_the_connection(thread: Thread) -> None:
    async with opened(thread) as socket:
        await socket.socket.send_bytes(b"{}")
        assert await closed(socket) == aiohttp.WSCloseCode.UNSUPPORTED_DATA


async def test_a_client_that_answers_no_ping_is_dropped(make_stack: MakeStack) -> None:
    async with make_stack(socket_ping_s=0.2) as stack:
        url = f"{stack.url}/threads/{uuid.uuid4()}/stream/events"
        async with stack.http.ws_connect(url, autoping=False) as socket:
            while (message := await socket.receive(LIMIT_S)).type is aiohttp.WSMsgType.PING:
                pass
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def test_a_slow_reader_is_closed_with_a_code_of_its_own_and_goes_on_from_its_number(thread: Thread) -> None:
    count, size = 1000, 30_000  # more than the sockets' buffers and the gateway's hold, in few steps
    async with opened(thread) as socket:
        await socket.command("subscription.subscribe", channels=["values", "lifecycle"])
        connection = socket.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()  # type: ignore[attr-defined]
        await thread.start("steps", {"count": count, "bytes": size})
        others = await thread.follow(channels=["lifecycle"], until=lambda event: event.root("running"))
        assert others
        await thread.follow_on(
            lambda event: event.data.get("n", 0) >= 900
        )  # a busy machine makes this a slow reader, too
        connection.transport.resume_reading()  # type: ignore[attr-defined]
        assert await closed(socket) in (SLOW_READER, 1006)
        got = socket.events
    assert [event.seq for event in got] == list(range(1, len(got) + 1))
    assert len(got) < count
    rest = await thread.follow_on(over, since=got[-1].seq if got else 0)
    assert [event.seq for event in [*got, *rest]] == list(range(1, count + 4))


async def test_a_gateway_that_goes_down_says_so_and_another_goes_on(thread: Thread, pair: Pair, tmp_path: Path) -> None:
    other, gate = thread.at(pair.second_url), tmp_path / "gate"
    steps = {"count": 60, "pause": 0.02, "gate": str(gate)}
    async with opened(other) as socket, opened(other) as idle:
        await socket.command("subscription.subscribe", channels=ALL)
        await socket.command("run.start", assistant_id="steps", input=steps)
        await socket.follow(lambda event: event.data.get("n") == 10)
        stopping = asyncio.create_task(asyncio.to_thread(pair.second.stop))
        assert await closed(socket) == GOING_DOWN
        assert await closed(idle) == GOING_DOWN
        assert await stopping == 0
        got = socket.events
    gate.touch()
    starting = asyncio.create_task(asyncio.to_thread(pair.second.start))
    async with opened(thread) as socket:
        await socket.command("subscription.subscribe", channels=ALL, since=got[-1].seq)
        rest = await socket.whole()
    await starting
    assert [event.seq for event in [*got, *rest]] == list(range(1, 64))


async def test_pages_of_other_origins_open_no_socket_of_a_server_without_authentication(thread: Thread) -> None:
    foreign = {"origin": "https://elsewhere.example"}
    for headers in (foreign, {**foreign, "cookie": "session=1"}, {"host": "rebound.example"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with opened(thread, headers=headers):
                pass
        assert refused.value.status == 403
    async with opened(thread, headers={"origin": thread.url, "cookie": "session=1"}) as socket:
        assert (await socket.command("zzz"))["error"] == "unknown_command"


async def test_other_paths_take_no_upgrade(thread: Thread) -> None:
    for path in ("", "/stream", "/runs"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with opened(thread, path):
                pass
        assert refused.value.status == 403


async def test_a_socket_on_what_is_no_thread_is_closed(http: aiohttp.ClientSession, pair: Pair) -> None:
    async with opened(Thread(http, pair.cluster.url, "zzz")) as socket:
        assert await closed(socket) == aiohttp.WSCloseCode.INTERNAL_ERROR
    assert isinstance(socket.events, list)
    assert not any(isinstance(event, ThreadEvent) for event in socket.events)
