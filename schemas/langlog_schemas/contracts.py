"""The language of the topics as documents: JSON Schemas (draft 2020-12) and an AsyncAPI 3 document, made from the types. Pure.

``python -m langlog_schemas.contracts docs/contracts`` writes them; a test keeps them current.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Raw

from . import checkpoints, commands, envelope, events, frames, snapshots
from .member_texts import member_texts

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI = "3.0.0"

TOPICS: dict[str, tuple[str, str]] = {
    commands.TOPIC: ("the aggregate's id (threads and runs: the thread id)", "Requests of clients and services."),
    events.RUN_EVENTS: ("the thread id", "Threads, runs, checkpoints and recorded frames."),
    events.ASSISTANT_EVENTS: ("the assistant id", "Assistants and their versions."),
    events.CRON_EVENTS: ("the cron id", "Crons."),
    events.STORE_EVENTS: ("the namespace, joined by dots", "Items of the store."),
    events.GRAPH_EVENTS: ("the graph id", "Graphs that executors can run."),
    events.DEAD_LETTERS: ("that of the record", "Records that could not be handled, as they were."),
    snapshots.TOPIC: (
        "the aggregate's id",
        "Replaces the front of the log where it was cut (docs/how-to/retention.md).",
    ),
}
"""Topic -> (description of its key, description of its records)."""

ID = {"type": "string", "minLength": 1}
NUMBERS = r"^\d+-\d+-\d+-\d+$"


def document_types() -> dict[str, type[msgspec.Struct]]:
    """Type (without ``langlog.``) -> class, of every command, every event, and what snapshots are made of."""
    return {**commands.COMMANDS, **events.EVENTS, **snapshots.SNAPSHOTS}


def is_packed(type_name: str) -> bool:
    """Whether the body is msgpack on the wire."""
    return type_name in events.MSGPACK_EVENTS or type_name in snapshots.SNAPSHOTS


def json_schema(type_name: str) -> dict[str, Any]:
    """The body of one command or event, by itself."""
    cls = document_types()[type_name]
    (schema,), components = _components([cls], "#/$defs/{name}")
    own = components.pop(_name(schema))
    document = {"$schema": DIALECT, "$id": f"urn:langlog:{type_name}", **own}
    if components:
        document["$defs"] = components
    if is_packed(type_name):
        document["$comment"] = PACKED
    return document


NO_DEFAULT = "(absent)"
"""Placeholder for `commands.ABSENT` until the schema is made: such a member is left out, and has no value then."""
PACKED = "On the wire this body is msgpack: members as here, but what is base64 text here is bytes there."


def asyncapi(version: str) -> dict[str, Any]:
    """Return the AsyncAPI document: all topics with their messages. ``version`` is langlog's."""
    types = document_types()
    inside: list[type[msgspec.Struct]] = [
        checkpoints.CheckpointBody,
        checkpoints.WritesBody,
        checkpoints.Bundle,
        frames.FrameBatch,
        snapshots.TableRows,
    ]
    schemas, components = _components([*types.values(), *inside], "#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=False))
    for cls in inside:
        components[cls.__name__].setdefault("$comment", "Inside a body's bytes, in msgpack.")
    messages = {type_name: _message(type_name, cls, by_type[type_name]) for type_name, cls in types.items()}
    messages["dead-letter"] = _dead_letter()
    components |= {"CloudEvent": _headers(), "DeadLetterHeaders": _dead_headers()}
    held = {topic: [name for name, cls in types.items() if topic in _topics(cls)] for topic in TOPICS}
    held[events.DEAD_LETTERS] += ["dead-letter"]
    return {
        "asyncapi": ASYNCAPI,
        "id": "urn:langlog",
        "info": {
            "title": "langlog",
            "version": version,
            "description": "The topics of langlog's log. Records are CloudEvents 1.0 in Kafka's binary mode: attributes are headers, "
            'the value is the data. docs/how-to/consuming.md says how to read them, and what not to count twice. "wire contract §n" is a section of docs/reference/wire-contract.md.',
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": envelope.JSON_CONTENT,
        "channels": {topic: _channel(topic, names) for topic, names in held.items()},
        "operations": {
            f"{'receive' if topic == commands.TOPIC else 'send'}-{topic}": {
                "action": "receive" if topic == commands.TOPIC else "send",
                "channel": {"$ref": f"#/channels/{topic}"},
                "summary": what,
            }
            for topic, (_, what) in TOPICS.items()
        },
        "components": {"messages": messages, "schemas": dict(sorted(components.items()))},
    }


def _channel(topic: str, names: Iterable[str]) -> dict[str, Any]:
    key, what = TOPICS[topic]
    return {
        "address": topic,
        "description": f"{what} LANGLOG_TOPIC_PREFIX goes before the name.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {"topic": topic, "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": -1}}
        },
        "x-key": key,
        "x-partitioning": "murmur2 of the key modulo LANGLOG_PARTITIONS (Kafka's default partitioner), the same number for every "
        "topic and fixed for the life of the log: a key has the same partition number in each.",
    }


def _message(type_name: str, cls: type[msgspec.Struct], payload: dict[str, Any]) -> dict[str, Any]:
    packed = is_packed(type_name)
    description = {
        "name": envelope.PREFIX + type_name,
        "title": cls.__name__,
        "summary": _first_line(cls),
        "contentType": envelope.MSGPACK_CONTENT if packed else envelope.JSON_CONTENT,
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEvent"},
                {"type": "object", "properties": {"ce_type": {"const": envelope.PREFIX + type_name}}},
            ]
        },
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "; or ".join(TOPICS[topic][0] for topic in _topics(cls))}
            }
        },
    }
    if packed:
        description["description"] = PACKED
    return description


def _dead_letter() -> dict[str, Any]:
    return {
        "name": "dead-letter",
        "title": "DeadLetter",
        "summary": "A record that could not be handled, with its own key, headers and value.",
        "contentType": "application/octet-stream",
        "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
        "payload": {},
        "bindings": {"kafka": {"key": {"type": "string"}}},
    }


def _headers() -> dict[str, Any]:
    """Every header is UTF-8 text."""
    text: dict[str, Any] = {"type": "string"}
    return {
        "type": "object",
        "title": "CloudEvent",
        "description": "Headers of every record: CloudEvents 1.0, Kafka protocol binding, binary mode.",
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "content-type"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {**ID, "description": "Equal ids are equal records."},
            "ce_type": {"type": "string", "pattern": r"^langlog\..+\.v\d+$"},
            "ce_source": {"type": "string", "pattern": "^/langlog/"},
            "ce_time": {
                "type": "string",
                "format": "date-time",
                "description": "Time of the request or event; UTC, microseconds.",
            },
            "ce_subject": {**text, "description": "The aggregate's id."},
            "content-type": {"enum": [envelope.JSON_CONTENT, envelope.MSGPACK_CONTENT]},
            "ce_cause": {
                "type": "string",
                "pattern": NUMBERS,
                "description": "Events that were decided: partition-offset-index-count of the command they come from and of their "
                "place among its events. Drop an event whose (offset, index) is not larger than that of the last one of its topic "
                "and partition.",
            },
            "ce_command": {**ID, "description": "First event of a command: the command's id."},
            "ce_replyto": {
                **text,
                "description": "The channel that the sender awaits the outcome on; of no use to other readers.",
            },
            "ce_actor": {**text, "description": "The authenticated user who sent the request."},
            "ce_traceparent": {"type": "string", "description": "The trace it belongs to (W3C trace context)."},
            "ce_retry": {"const": "1", "description": "The command came with an Idempotency-Key."},
            envelope.SEALED: {**text, "description": "The body is encrypted (docs/how-to/erasure.md)."},
        },
    }


def _dead_headers() -> dict[str, Any]:
    return {
        "type": "object",
        "title": "DeadLetterHeaders",
        "description": "The record's own headers, and these.",
        "required": ["dead_origin", "dead_error", "dead_time"],
        "properties": {
            "dead_origin": {
                "type": "string",
                "pattern": r"^[a-z-]+-\d+-\d+$",
                "description": "topic-partition-offset of the record.",
            },
            "dead_error": {"type": "string", "description": "What was wrong with it."},
            "dead_time": {"type": "string", "format": "date-time"},
        },
    }


# --- types ------------------------------------------------------------------------------------


def _components(types: list[type[msgspec.Struct]], template: str) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    mirrored: dict[type, Any] = {}
    references, components = msgspec.json.schema_components(
        [_mirror(t, mirrored) for t in types], ref_template=template
    )
    texts = {cls.__name__: member_texts(cls) for cls in mirrored}
    for name, schema in components.items():
        for member, described in schema.get("properties", {}).items():
            if described.get("default") == NO_DEFAULT:
                del described["default"]
            text = texts.get(name, {}).get(member)
            if text is not None:
                described.setdefault("description", text)
    return references, components


def _mirror(cls: type[msgspec.Struct], known: dict[type, Any]) -> Any:
    """The same Struct, where a member that may be absent (`commands.ABSENT`) has a default that a schema can be made of."""
    if cls in known:
        return known[cls]
    hints = get_type_hints(cls, include_extras=True)
    members: list[Any] = []
    for field in msgspec.structs.fields(cls):
        hint = _replace(hints[field.name], known)
        if field.default is not NODEFAULT:
            members.append((field.name, hint, NO_DEFAULT if isinstance(field.default, Raw) else field.default))
        elif field.default_factory is not NODEFAULT:
            members.append((field.name, hint, msgspec.field(default_factory=field.default_factory)))
        else:
            members.append((field.name, hint))
    config = cls.__struct_config__
    known[cls] = msgspec.defstruct(
        cls.__name__,
        members,
        kw_only=not config.array_like,
        array_like=config.array_like,
        namespace={"__doc__": inspect.cleandoc(cls.__doc__ or "")},
    )
    return known[cls]


def _replace(hint: Any, known: dict[type, Any]) -> Any:
    if isinstance(hint, UnionType):
        replaced: Any = _replace(get_args(hint)[0], known)
        for member in get_args(hint)[1:]:
            replaced = replaced | _replace(member, known)
        return replaced
    if get_origin(hint) in (list, dict, tuple):
        return get_origin(hint)[tuple(_replace(x, known) for x in get_args(hint))]
    if isinstance(hint, _StructMeta) and issubclass(hint, msgspec.Struct):
        return _mirror(hint, known)
    return Any if hint is Raw else hint


_StructMeta = type(msgspec.Struct)


def _topics(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    if issubclass(cls, events.CommandRepeated):
        return cls.TOPICS
    return (cls.TOPIC if issubclass(cls, events.Event) else commands.TOPIC,)


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _first_line(cls: type[msgspec.Struct]) -> str:
    return inspect.cleandoc(cls.__doc__ or cls.__name__).partition("\n")[0]


def documents(version: str) -> dict[str, str]:
    """Path within the folder -> text of every document."""
    values = {"asyncapi.json": asyncapi(version)}
    values |= {f"schemas/{type_name}.json": json_schema(type_name) for type_name in document_types()}
    return {
        path: msgspec.json.format(msgspec.json.encode(made), indent=2).decode() + "\n" for path, made in values.items()
    }


def main(folder: Path, version: str) -> None:
    for path, text in documents(version).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def installed_version() -> str:
    """Return the version of the installed distribution: langlog, or langlog-schemas alone."""
    try:
        return metadata.version("langlog")
    except metadata.PackageNotFoundError:
        return metadata.version("langlog-schemas")


if __name__ == "__main__":
    main(Path(sys.argv[1]), installed_version())
