"""Messages between worker and graph host, and their encoding on the socket.

A message is four bytes of length (unsigned, the high byte first), then a msgpack map whose member ``t`` names its kind. The socket is
one end of a pair that the worker made; each side reads the other's messages in the order in which they were written. The same text
is at the head of ``executor/graph-host/src/protocol.ts``, and both sides' tests read ``tests/js/protocol_vectors.json``.

    worker                                        host
      load ──────────────────────────────────────►        the graphs of the project, once
           ◄────────────────────────── loaded | refused
      run | query (job) ─────────────────────────►        a run of a graph, or a question about one
           ◄─────────────────────── stream (job) …        what the run streams, in order
           ◄──────────────────── call (job, call)         the graph reads or writes checkpoints or the store
      answer | refuse (job, call) ───────────────►        … unless ``call`` is 0: then no answer is awaited
      stop (job) ────────────────────────────────►        cancel, drain, or drop: a dropped job sends nothing any more
      hold (job, on) ────────────────────────────►        its stream waits, since Redis takes less than it streams; then goes on
           ◄─────────────────────────── end (job)         with the result; the job is over
      ping (n) ──────────────────────────────────►
           ◄──────────────────────────── pong (n)         the host's event loop is free; with its memory in bytes
           ◄────────────────────────────────── log        a line that graph code has written to the console

The host ends when the socket closes. JSON travels as bytes, values of checkpoints as the bytes that the project's serializer made.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

MESSAGE_BYTES_MAX = 256 * 1024 * 1024
LENGTH_BYTES = 4
NO_ANSWER = 0
"""``call`` of a call without an awaited answer."""


class ProtocolFault(Exception):
    """Bytes on the socket that are none of this protocol, or a message that is too large."""


class _Message(msgspec.Struct, frozen=True, tag_field="t"):
    pass


class GraphFile(msgspec.Struct, frozen=True):
    id: str
    file: str
    export: str


class Load(_Message, frozen=True, tag="load"):
    root: str
    graphs: list[GraphFile]


class Run(_Message, frozen=True, tag="run"):
    """``body``: `RunBody` as JSON."""

    job: int
    body: bytes


class Query(_Message, frozen=True, tag="query"):
    job: int
    kind: str
    body: bytes


class Answered(_Message, frozen=True, tag="answer"):
    job: int
    call: int
    value: Any


class Refuse(_Message, frozen=True, tag="refuse"):
    job: int
    call: int
    error: str
    message: str


class Stop(_Message, frozen=True, tag="stop"):
    job: int
    how: Literal["cancel", "drain", "drop"]


class Hold(_Message, frozen=True, tag="hold"):
    """``on``: the stream waits; otherwise it goes on."""

    job: int
    on: bool


class Ping(_Message, frozen=True, tag="ping"):
    n: int


ToHost = Load | Run | Query | Answered | Refuse | Stop | Hold | Ping


class LoadedGraph(msgspec.Struct, frozen=True):
    id: str
    static: bool


class Loaded(_Message, frozen=True, tag="loaded"):
    """``node``, ``langgraph``: versions."""

    node: str
    langgraph: str
    graphs: list[LoadedGraph]


class Refused(_Message, frozen=True, tag="refused"):
    """A graph does not load."""

    graph_id: str
    reason: str
    file: str | None
    line: int | None


class Call(_Message, frozen=True, tag="call"):
    job: int
    call: int
    name: str
    args: list[Any]


class Stream(_Message, frozen=True, tag="stream"):
    """``items``: as in ``streams/items.ts`` and `hosted_stream`."""

    job: int
    items: list[list[Any]]


class End(_Message, frozen=True, tag="end"):
    job: int
    result: Any


class Pong(_Message, frozen=True, tag="pong"):
    n: int
    rss: int
    heap: int


class Log(_Message, frozen=True, tag="log"):
    job: int
    level: str
    text: str


ToWorker = Loaded | Refused | Call | Stream | End | Pong | Log

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ToWorker)
_decoder_of_host = msgspec.msgpack.Decoder(ToHost)


def encode(message: ToHost | ToWorker) -> bytes:
    """Return the encoded message. Raises ProtocolFault for one that is too large."""
    body = _encoder.encode(message)
    if len(body) > MESSAGE_BYTES_MAX:
        raise ProtocolFault(
            f"a message of {len(body)} bytes between worker and graph is over the limit of {MESSAGE_BYTES_MAX}"
        )
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode(body: bytes | memoryview) -> ToWorker:
    """Decode a message of the host, without its length. Raises ProtocolFault."""
    try:
        message: ToWorker = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolFault(f"the graph host sent something that is no message: {error}") from None
    return message


def decode_of_worker(body: bytes) -> ToHost:
    """Decode a message of the worker: for tests. Raises msgspec.MsgspecError."""
    message: ToHost = _decoder_of_host.decode(body)
    return message


class Messages:
    """Assembles messages from a socket's chunks."""

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, piece: bytes) -> Iterator[ToWorker]:
        """Return the messages that are complete with this chunk, in order. Raises ProtocolFault."""
        held = self._held
        held += piece
        start = 0
        while len(held) - start >= LENGTH_BYTES:
            length = int.from_bytes(held[start : start + LENGTH_BYTES], "big")
            if length > MESSAGE_BYTES_MAX:
                raise ProtocolFault(f"the graph host announced a message of {length} bytes")
            end = start + LENGTH_BYTES + length
            if len(held) < end:
                break
            body = bytes(held[start + LENGTH_BYTES : end])
            start = end
            yield decode(body)
        if start:
            del held[:start]
