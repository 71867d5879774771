"""Graph values to JSON: messages, pydantic models, dataclasses, sets, exceptions, and whatever else nodes put into state.

`encode` never fails: what JSON cannot say becomes its ``repr``. One encoder is shared by all threads (msgspec encoders hold no
state of a call). Shapes are those of the wire contract (API.md 6.2): a message is its ``model_dump``, an exception its
``repr``, a set a list, bytes base64.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import uuid
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import msgspec
from langgraph.types import Send

from .credentials import hidden
from .stored_messages import dumped

MAX_DEPTH = 200
"""Nesting that `plain` follows before it gives up and takes the ``repr``."""


def _hook(value: Any) -> Any:
    """What msgspec does not know by itself, as something that it knows."""
    values = dumped(value)
    if values is not None:
        return values
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump()
    if isinstance(value, BaseException):
        return hidden(repr(value))
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    to_list = getattr(value, "tolist", None)
    if to_list is not None and not isinstance(value, type):  # numpy arrays and scalars
        return to_list()
    as_dict = getattr(value, "dict", None)
    if callable(as_dict) and hasattr(value, "__fields__") and not isinstance(value, type):  # pydantic v1
        return as_dict()
    if isinstance(value, Iterable) and hasattr(value, "__len__") and not isinstance(value, type):  # deque, dict views
        return list(value)
    return repr(value)


_encoder = msgspec.json.Encoder(enc_hook=_hook)


def encode(value: Any) -> bytes:
    """The value as JSON. Whatever cannot be encoded as it is, is encoded by way of `plain`."""
    try:
        return _encoder.encode(value)
    except RecursionError:
        return _encoder.encode(plain(value))
    except Exception:  # a key that is no string, a lone surrogate, a user's model_dump that raises
        return _encoder.encode(plain(value))


def encode_text(value: Any) -> str:
    return encode(value).decode()


def plain(value: Any, depth: int = 0) -> Any:
    """The value made of dict, list, str, int, float, bool and None alone."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else msgspec.Raw(str(int(value)).encode())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth > MAX_DEPTH:
        return repr(type(value))
    if isinstance(value, bytes | bytearray | memoryview | datetime.date | datetime.time | uuid.UUID):
        return value
    if isinstance(value, Mapping):
        return {_key(k): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v, depth + 1) for v in value]
    if isinstance(value, type):
        return repr(value)
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name, None), depth + 1) for f in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct | datetime.timedelta):
        return msgspec.to_builtins(value, enc_hook=_hook)
    try:
        return plain(_hook(value), depth + 1)
    except Exception:
        return f"<{type(value).__name__}>"


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key.encode("utf-8", "replace").decode()
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, enum.Enum):
        return _key(key.value)
    return str(key)
