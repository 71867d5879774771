"""Golden files: for every version of every command and event ever released, records as they stand in logs, and what they mean.

``python -m tests.consuming.golden`` writes those that are missing. It never touches one that is there: a released version does not
change. Each file has two records: one with every member, one with only those that must be there (so that defaults are held too).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
from langlog_schemas import checkpoints as cp
from langlog_schemas import commands as cmd
from langlog_schemas import envelope, frames, snapshots
from langlog_schemas import events as ev
from langlog_schemas.contracts import document_types, is_packed
from langlog_schemas.envelope import Cause
from msgspec import inspect as mi

FOLDER = Path(__file__).parents[2] / "docs" / "contracts" / "golden"

THREAD = "0198c0de-0000-7000-8000-000000000001"
RUN = "0198c0de-0000-7000-8000-000000000002"
ASSISTANT = "0198c0de-0000-7000-8000-000000000003"
CRON = "0198c0de-0000-7000-8000-000000000004"
CHECKPOINT = "1f0a0000-0000-6000-8000-000000000005"
TIME = "2026-11-21T10:11:12.131415+00:00"

WRITTEN = cp.CheckpointBody(
    "",
    CHECKPOINT,
    None,
    "msgpack",
    b"\x80",
    b'{"step":1}',
    {"messages": "1"},
    [cp.ChannelBlob("messages", "1", "msgpack", b"\x90")],
    RUN,
)
WRITES = cp.WritesBody(
    "", CHECKPOINT, "task-1", "~__pregel_pull, talk", [cp.Write(0, "messages", "msgpack", b"\xa2hi")]
)
FRAMES = frames.FrameBatch(RUN, 1, [frames.Frame(1, 1_795_255_872_131, 0, "values", b'{"messages":[]}')], True)

ROWS = [
    snapshots.TableRows(
        table="checkpoint_blobs",
        columns=[
            snapshots.Column(name="version", text=["1", None]),
            snapshots.Column(name="data", data=[b"\x90", None]),
        ],
    )
]

STRINGS = {
    "thread_id": THREAD,
    "run_id": RUN,
    "assistant_id": ASSISTANT,
    "cron_id": CRON,
    "checkpoint_id": CHECKPOINT,
    "aggregate_id": THREAD,
    "superseded_by": "0198c0de-0000-7000-8000-000000000006",
    "graph_id": "chat",
    "schedule": "*/5 * * * *",
    "timezone": "Europe/Berlin",
    "webhook": "https://example.org/hook",
    "detail": "Thread is already running a task.",
    "embedding": "",
}
TIMES = frozenset(
    {
        "not_before",
        "started_at",
        "attempted_at",
        "due_at",
        "next_attempt_at",
        "created_at",
        "updated_at",
        "end_time",
        "due",
        "next_run_date",
        "read_at",
        "expired_by",
    }
)
REFERENCES = frozenset({"result"})
"""Members that name other records, which stand before theirs in a log: a golden record stands alone."""
NUMBERS = {"status": 409, "index": 0, "count": 1, "attempt": 1, "ordinal": 7}
BODIES = {
    ev.CheckpointWritten: cp.encode(WRITTEN),
    ev.CheckpointWrites: cp.encode(WRITES),
    ev.Step: cp.encode(WRITES),
    ev.CheckpointPart: cp.encode(WRITTEN),
    ev.RunFrames: frames.encode(FRAMES),
    snapshots.ThreadSnapshot: snapshots.encode_rows(ROWS),
    snapshots.RowsSnapshot: snapshots.encode_rows(ROWS),
}


def example(cls: type[msgspec.Struct], *, whole: bool) -> Any:
    """An instance, with every member or only with those that have no default."""
    made = {}
    for field in mi.type_info(cls).fields:  # type: ignore[attr-defined]
        if (whole and field.name not in REFERENCES) or field.required:
            made[field.name] = _value(cls, field.name, field.type, whole)
    return cls(**made)


def _value(cls: type, name: str, type: mi.Type, whole: bool) -> Any:
    match type:
        case mi.StrType():
            return TIME if name in TIMES else STRINGS.get(name, f"a {name}")
        case mi.IntType():
            return NUMBERS.get(name, 3)
        case mi.FloatType():
            return 60.0
        case mi.BoolType():
            return True
        case mi.BytesType():
            return BODIES.get(cls, b"\x00\x00\x80?")
        case mi.RawType():
            return msgspec.Raw(
                b'{"task-1":[{"id":"i","value":"why?"}]}' if name == "interrupts" else b'{"messages":["hi"]}'
            )
        case mi.AnyType():
            return {"a": 1}
        case mi.LiteralType(values):
            return values[-1] if cls is ev.CheckpointPart else values[0]
        case mi.ListType(item):
            if isinstance(item, mi.BytesType):
                return [cp.encode(cp.Bundle(WRITTEN, [WRITES]))]
            return [_value(cls, name, item, whole)]
        case mi.TupleType(items):
            return tuple(RUN if isinstance(item, mi.StrType) else 1 for item in items)
        case mi.DictType():
            return {"color": "green"}
        case mi.StructType(inner):
            return example(inner, whole=whole)
        case mi.UnionType(types):
            return _value(cls, name, next(t for t in types if not isinstance(t, mi.NoneType)), whole)
        case _:
            raise NotImplementedError(type)


def meaning(value: Any) -> Any:
    """Return the decoded value, with the members that were left out."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value) if value else "(absent)"
    if isinstance(value, msgspec.Struct):
        return {name: meaning(getattr(value, name)) for name in value.__struct_fields__}
    if value is msgspec.UNSET:
        return "(absent)"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [meaning(x) for x in value]
    if isinstance(value, dict):
        return {key: meaning(x) for key, x in value.items()}
    return value


def record(type: str, cls: type[msgspec.Struct], *, whole: bool) -> dict[str, Any]:
    body = example(cls, whole=whole)
    command = isinstance(body, cmd.Body)
    worker = isinstance(body, ev.WORKER_EVENTS)
    snapshot = isinstance(body, snapshots.AnySnapshot)
    packed = is_packed(type)
    value = (
        cmd.encode(body)
        if isinstance(body, cmd.Body)
        else snapshots.encode(body)
        if isinstance(body, snapshots.AnySnapshot)
        else ev.encode(body)
    )
    headers = envelope.headers(
        id="0198c0de-0000-7000-8000-00000000000a" if command else f"{RUN}-1-4" if worker else "3-7-0",
        type=type,
        source="/langlog/gateway"
        if command
        else "/langlog/executor"
        if worker
        else "/langlog/retention"
        if snapshot
        else "/langlog/decider",
        time=TIME,
        subject=body.key,
        content_type=envelope.MSGPACK_CONTENT if packed else envelope.JSON_CONTENT,
        cause=None if command or worker or snapshot or isinstance(body, ev.GraphRegistered) else Cause(3, 7, 0, 1),
        actor="ada" if whole and not worker else None,
    )
    return {
        "topic": cmd.TOPIC if command else body.TOPIC,
        "key": body.key,
        "headers": headers,
        "value": {"base64": base64.b64encode(value).decode()} if packed else {"text": value.decode()},
        "meaning": meaning(body),
    }


def bytes_of(result: dict[str, Any]) -> bytes:
    value = result["value"]
    return base64.b64decode(value["base64"]) if "base64" in value else str(value["text"]).encode()


def write_missing(folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for type, cls in document_types().items():
        file = folder / f"{type}.json"
        if not file.exists():
            records = [record(type, cls, whole=True), record(type, cls, whole=False)]
            file.write_bytes(msgspec.json.format(msgspec.json.encode({"records": records}), indent=2) + b"\n")
            made.append(type)
    return made


if __name__ == "__main__":
    for made in write_missing(FOLDER):
        print(made)
