"""The result of a run, when it is too large for the record of its end: the body of `events.RunResultPart`s, in msgpack."""

from __future__ import annotations

import msgspec


class RunResult(msgspec.Struct, frozen=True, array_like=True):
    """``values`` and ``output`` as in `commands.FinishRun`, JSON; empty: absent."""

    values: bytes = b""
    output: bytes = b""


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(RunResult).decode
