"""The protocol between worker and graph host, as Python has it. Its other side is held by ``protocol.test.ts``, on the same vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from langlog_executor.graph_host import protocol
from langlog_executor.graph_host.protocol import Messages, ProtocolFault

from tests.js.host.stack import SOURCES

VECTORS = Path(__file__).parents[1] / "protocol_vectors.json"
LENGTH = protocol.LENGTH_BYTES


def vectors() -> dict[str, list[dict[str, Any]]]:
    """``name``, ``message`` with bytes as ``{"bytes": hex}``, ``frame`` in hex."""
    found: dict[str, list[dict[str, Any]]] = json.loads(VECTORS.read_text())
    return found


def plain(value: Any) -> Any:
    """A message as the vectors write it."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


@pytest.mark.parametrize("vector", vectors()["to_host"], ids=lambda v: v["name"])
def test_messages_of_the_worker_stand_on_the_socket_as_written_down(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["frame"])
    message = protocol.decode_of_worker(frame[LENGTH:])
    assert plain(msgspec.to_builtins(message, builtin_types=(bytes,))) == vector["message"]
    assert protocol.encode(message) == frame


@pytest.mark.parametrize("vector", vectors()["to_worker"], ids=lambda v: v["name"])
def test_messages_of_the_host_are_read_as_written_down(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["frame"])
    message = protocol.decode(frame[LENGTH:])
    assert plain(msgspec.to_builtins(message, builtin_types=(bytes,))) == vector["message"]


def test_there_is_a_vector_of_each_kind() -> None:
    named = {vector["message"]["t"] for side in vectors().values() for vector in side}
    kinds = {kind.__struct_config__.tag for union in (protocol.ToHost, protocol.ToWorker) for kind in union.__args__}
    assert named == kinds


def test_pieces_of_any_size_make_the_same_messages() -> None:
    frames = b"".join(bytes.fromhex(vector["frame"]) for vector in vectors()["to_worker"])
    whole = list(Messages().take(frames))
    for size in (1, 3, 7, 100):
        messages = Messages()
        pieces = [frames[at : at + size] for at in range(0, len(frames), size)]
        assert [message for piece in pieces for message in messages.take(piece)] == whole


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", (3).to_bytes(4, "big") + b"\xc1\xc1\xc1", (1).to_bytes(4, "big") + b"\x80"]
)
def test_other_bytes_are_a_fault(data: bytes) -> None:
    with pytest.raises(ProtocolFault):
        list(Messages().take(data))


def test_both_sides_have_the_same_text_at_their_head() -> None:
    drawing = [line.strip() for line in (protocol.__doc__ or "").splitlines() if "──" in line or "◄" in line]
    source = (SOURCES / "src" / "protocol.ts").read_text()
    other = [line.strip(" *").strip() for line in source.splitlines() if "──" in line or "◄" in line]
    assert [line.replace("``", "`") for line in drawing] == other
