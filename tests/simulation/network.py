"""The network of a world: every message takes its time, in order on its wire; it may be cut, silent or slow, and servers may be down.

A wire joins one process to one server. What a process has sent before it was killed still arrives; what a server sends to a process
that is gone does not. All delays are drawn from the world's seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeVar

from .loop import WORLD, Node, SimulationLoop, within
from .stand_ins.link import NoAnswer, Unreachable

T = TypeVar("T")

TICK_S = 1e-6
"""Between two messages of one wire at least: the order of timers of the same moment is nobody's promise."""


class Server:
    """A server as the network knows it. ``down``: connections are refused. ``silent``: nothing is answered, and nothing is lost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.down = False
        self.silent = False
        self.slow = 1.0
        """How many times slower than usual."""


class Wire:
    """Both directions between a process and a server."""

    __slots__ = ("clear_at", "deliver_at", "net", "node", "server", "to_client", "to_server")

    def __init__(self, net: Network, node: Node, server: Server) -> None:
        self.net, self.node, self.server = net, node, server
        self.to_server = within(WORLD)
        self.to_client = within(node)
        self.clear_at = self.deliver_at = 0.0

    def send(self, act: Callable[..., Any], *args: Any) -> None:
        """To the server. While the two are cut off from each other it waits, as TCP sends again."""
        net = self.net
        if net.is_cut(self.node, self.server):
            net.stuck.append((self.node.name, self.server.name, self.send, act, args))
            return
        at = self.clear_at = max(self.clear_at + TICK_S, net.loop.time() + net.delay(self.server))
        net.loop.call_at(at, self._arrive, act, args, context=self.to_server)

    def _arrive(self, act: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self.server.silent:
            self.net.held.append((self.server, act, args))
        else:
            act(*args)

    def reply(self, act: Callable[..., Any], *args: Any) -> None:
        """To the process."""
        net = self.net
        if net.is_cut(self.node, self.server):
            net.stuck.append((self.node.name, self.server.name, self.reply, act, args))
            return
        at = self.deliver_at = max(self.deliver_at + TICK_S, net.loop.time() + net.delay(self.server))
        net.loop.call_at(at, act, *args, context=self.to_client)


class Network:
    def __init__(self, loop: SimulationLoop, seed: int) -> None:
        self.loop = loop
        self.draw = random.Random(seed)
        self.cut: set[tuple[str, str]] = set()
        """(process, server) that cannot reach each other."""
        self.lost = 0
        self.stuck: list[tuple[str, str, Callable[..., None], Callable[..., Any], tuple[Any, ...]]] = []
        """Messages between those who cannot reach each other."""
        self.held: list[tuple[Server, Callable[..., Any], tuple[Any, ...]]] = []
        self.drop_reply = 0.0
        """Share of answers of the log that are lost."""
        self.servers: dict[str, Server] = {}

    def server(self, name: str) -> Server:
        return self.servers.setdefault(name, Server(name))

    def is_cut(self, node: Node, server: Server) -> bool:
        return bool(self.cut) and (node.name, server.name) in self.cut

    def join_again(self, pair: tuple[str, str]) -> None:
        """The two can reach each other: what they have sent meanwhile arrives."""
        self.cut.discard(pair)
        stuck, self.stuck = self.stuck, []
        for node, server, send, act, args in stuck:
            if (node, server) in self.cut:
                self.stuck.append((node, server, send, act, args))
            else:
                send(act, *args)

    def delay(self, server: Server) -> float:
        drawn = self.draw.random()
        base = 0.0002 + 0.002 * drawn * drawn
        if drawn > 0.995:
            base += 0.05
        return base * server.slow

    def speak_again(self, server: Server) -> None:
        """Carry out all that had arrived while the server was silent."""
        server.silent = False
        held, self.held = self.held, []
        for of, act, args in held:
            if of is server:
                act(*args)
            else:
                self.held.append((of, act, args))


class LogLink:
    """A process' way to the log. An answer may be lost: the append has happened then, and its sender does not know."""

    def __init__(self, net: Network, node: Node, server: Server) -> None:
        self.node = node
        self._net, self._server = net, server
        self._back = Wire(net, node, server)

    @property
    def responsive(self) -> bool:
        node = self.node
        return node.alive and not node.paused and not self._net.is_cut(node, self._server)

    async def call(self, apply: Callable[[], T], limit_s: float = 10.0) -> T:
        net, server = self._net, self._server
        if server.down or net.is_cut(self.node, server):
            await asyncio.sleep(net.delay(server))
            raise Unreachable
        answer: asyncio.Future[T] = net.loop.create_future()
        wire = Wire(net, self.node, server)  # its own: requests to several brokers overtake each other

        def serve() -> None:
            if server.down:
                wire.reply(_fail, answer, NoAnswer())
                return
            try:
                result = apply()
            except Exception as error:
                wire.reply(_fail, answer, error)
                return
            if net.drop_reply and net.draw.random() < net.drop_reply:
                net.lost += 1
                return
            wire.reply(_settle, answer, result)

        wire.send(serve)
        try:
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError:
            raise NoAnswer from None

    def later(self, deliver: Callable[[], Any]) -> None:
        self._back.reply(deliver)


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
