"""A project's JSON handlers (``@encryption.encrypt.json``, ``@encryption.decrypt.json``) and the envelopes in which their
results are stored.

A handler transforms the values of an object and keeps its keys. Each changed value is stored in an envelope, under the same key:

    {"email": "a@b"}  ──encrypt.json──►  {"email": {"__langlog_sealed__": [context, "email", <the handler's value>]}}

with the encryption context (JSON text) that it was sealed under, so that merges of objects by key, which decider and Postgres do, keep
apart values that different callers have sealed. Values that a handler does not change are stored in clear, and can be
searched; objects within are passed to the handler as well. An object of a client that looks like an envelope is wrapped in
an envelope.

Concurrency: coroutines, on the loop that the handlers belong to. Nothing is kept between calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import msgspec
from langlog_schemas.runs.request import EVENT_STREAMING

from ..process.service import StartError
from .exits import contained
from .imports import load_object

if TYPE_CHECKING:
    from langgraph_sdk import Encryption

    from .config import Project

MARK = "__langlog_sealed__"
"""The one member of an envelope: ``[context, key, value]``, or ``[value]`` for a client's object that has this member itself."""
MARK_BYTES = MARK.encode()
HANDLER_S = 60.0
"""Seconds for one call of a handler, including its key service."""
CONTEXT_KEY = "langgraph_encryption_context"
"""Member of a configurable with the handlers' ``ctx.metadata``, as JSON text."""
NO_CONTEXT = "{}"

KEPT = frozenset(
    {
        "thread_id",
        "run_id",
        "assistant_id",
        "graph_id",
        "cron_id",
        "checkpoint_id",
        "checkpoint_ns",
        "checkpoint_map",
        "task_id",
        "langgraph_version",
        "langgraph_api_version",
        "langgraph_plan",
        "langgraph_host",
        "langgraph_api_url",
        "langgraph_request_id",
        "langgraph_auth_user",
        "langgraph_auth_user_id",
        "langgraph_auth_permissions",
        "source",
        "step",
        "parents",
        "run_attempt",
        "created_by",
        "__after_seconds__",
        "__request_start_time_ms__",
        EVENT_STREAMING,
        CONTEXT_KEY,
    }
)
"""Members of metadata and configurables that handlers never receive: the server uses them."""


class HandlerFault(Exception):
    """A JSON handler returned a value that cannot be stored or shown. The message describes it."""

    for_clients = True


class About(NamedTuple):
    """Context of a value that a handler receives."""

    context: str
    """The encryption context, as JSON text."""
    model: str
    """Kind of the object: thread, run, assistant, cron, store or checkpoint."""
    field: str


class JsonHandlers:
    """Both handlers of a project. ``encryption``: has them (`has_json_handlers`)."""

    def __init__(self, encryption: Encryption) -> None:
        self._encrypt: Any = encryption._json_encryptor
        self._decrypt: Any = encryption._json_decryptor

    # --- sealing -----------------------------------------------------------------------------

    async def seal(self, value: Any, about: About, kept: frozenset[str] = frozenset()) -> Any:
        """Return the value (JSON, not modified) as it may be stored. A value that is not an object is passed on as one with
        the field's name.

        Raises HandlerFault and what the handler raises.
        """
        if value is None:
            return None
        # a copy: what the caller has stays as it is
        root = msgspec.json.decode(msgspec.json.encode([value if isinstance(value, dict) else {about.field: value}]))
        waiting: list[Any] = [root]
        while waiting:
            node = waiting.pop()
            sealed = await self._seal_members(node, about, kept) if isinstance(node, dict) else {}
            for at, inner in _members(node):
                if at in sealed or not isinstance(inner, dict | list):
                    continue
                waiting.append(inner)
                if isinstance(inner, dict) and MARK in inner:  # a client's object that looks like an envelope
                    node[at] = {MARK: [inner]}
            if sealed:
                node.update(sealed)
        return root[0] if isinstance(value, dict) else root[0][about.field]

    async def seal_json(self, data: bytes, about: About) -> bytes:
        """Seal JSON text, as `seal`."""
        return msgspec.json.encode(await self.seal(msgspec.json.decode(data), about)) if data else data

    async def seal_metadata(self, metadata: Mapping[str, Any], about: About) -> dict[str, Any]:
        """Seal metadata, as `seal`, except for the members that the server uses."""
        sealed: dict[str, Any] = await self.seal(dict(metadata), about, KEPT)
        return sealed

    async def seal_config(self, config: Mapping[str, Any], context: str, model: str) -> dict[str, Any]:
        """Seal a config. The configurable of a run's or thread's config also gets the context that workers seal with."""
        sealed = dict(config)
        if isinstance(config.get("configurable"), dict):
            given = {k: v for k, v in config["configurable"].items() if k != CONTEXT_KEY}
            sealed["configurable"] = await self.seal_metadata(given, About(context, model, "config"))
            if context != NO_CONTEXT and model in ("run", "thread"):
                sealed["configurable"][CONTEXT_KEY] = context
        if isinstance(config.get("metadata"), dict):
            sealed["metadata"] = await self.seal_metadata(config["metadata"], About(context, model, "metadata"))
        return sealed

    async def seal_request(self, request: Mapping[str, Any], context: str, model: str) -> dict[str, Any]:
        """Seal a run's kwargs, or a cron's payload: input, command, config, context and metadata. Ids of answered
        interrupts stay in clear."""
        sealed = dict(request)
        for field in ("input", "context"):
            sealed[field] = await self.seal(sealed.get(field), About(context, model, field))
        for field in ("input", "context"):
            if field not in request:
                del sealed[field]
        if isinstance(request.get("metadata"), dict):
            sealed["metadata"] = await self.seal_metadata(request["metadata"], About(context, model, "metadata"))
        if isinstance(request.get("config"), dict):
            sealed["config"] = await self.seal_config(request["config"], context, model)
        if isinstance(request.get("command"), dict):
            sealed["command"] = await self._seal_command(request["command"], context, model)
        return sealed

    async def _seal_command(self, command: Mapping[str, Any], context: str, model: str) -> dict[str, Any]:
        sealed = dict(command)
        for member in ("resume", "update"):
            if member in command:
                sealed[member] = await self.seal(command[member], About(context, model, member))
        goto = command.get("goto")
        targets = goto if isinstance(goto, list) else [goto]
        went = [
            {**one, "input": await self.seal(one["input"], About(context, model, "input"))}
            if isinstance(one, dict) and "input" in one
            else one
            for one in targets
        ]
        if "goto" in command:
            sealed["goto"] = went if isinstance(goto, list) else went[0]
        return sealed

    async def seal_interrupts(self, data: bytes, context: str) -> bytes:
        """Seal a thread's interrupts, JSON: task id -> list of ``{id, value, …}``. Their ids stay in clear: they are decided on."""
        if not data or data == b"{}":
            return data
        by_task: dict[str, list[Any]] = msgspec.json.decode(data)
        for interrupts in by_task.values():
            for interrupt in interrupts:
                shown = {
                    name: value for name, value in interrupt.items() if name not in ("id", "ns", "resumable", "when")
                }
                interrupt.update(await self.seal(shown, About(context, "thread", "interrupts")))
        return msgspec.json.encode(by_task)

    async def _seal_members(self, node: dict[str, Any], about: About, kept: frozenset[str]) -> dict[str, Any]:
        """Return the envelopes of an object's members that the handler changes."""
        given = {name: value for name, value in node.items() if name not in kept}
        if not given:
            return {}
        # a copy: a handler may change what it gets
        sealed = await self._call(self._encrypt, "encrypt.json", about, msgspec.json.decode(msgspec.json.encode(given)))
        if sealed.keys() != given.keys():
            changed = sorted(map(repr, sealed.keys() ^ given.keys()))
            raise HandlerFault(
                "The encryption handler encrypt.json must keep the keys of what it gets, as objects are merged by key: "
                f"it added or removed {', '.join(changed[:10])}"
            )
        return {
            name: {MARK: [about.context, name, value]}
            for name, value in sealed.items()
            if not _same(value, given[name])
        }

    # --- opening -----------------------------------------------------------------------------

    async def open(self, value: Any) -> Any:
        """Return the value (JSON) with the envelopes in it, at any depth, decrypted. Raises HandlerFault and what the handler raises."""
        root = [value]
        waiting: list[Any] = [root]
        while waiting:
            node = waiting.pop()
            sealed: dict[str, list[tuple[Any, str, Any]]] = {}
            for at, inner in _members(node):
                if not isinstance(inner, dict | list):
                    continue
                if not _is_envelope(inner):
                    waiting.append(inner)
                elif len(inner[MARK]) == 1:
                    node[at] = inner[MARK][0]
                    waiting.append(node[at])
                else:
                    context, name, content = inner[MARK]
                    sealed.setdefault(context, []).append((at, name, content))
            for context, members in sealed.items():
                await self._open_members(node, context, members)
        return root[0]

    async def open_json(self, data: bytes) -> bytes:
        """Decrypt the envelopes in JSON text, as `open`; returns the same bytes if there are none."""
        return msgspec.json.encode(await self.open(msgspec.json.decode(data))) if MARK_BYTES in data else data

    async def open_text(self, text: str) -> str:
        return (await self.open_json(text.encode())).decode() if MARK in text else text

    async def _open_members(self, parent: Any, context: str, members: list[tuple[Any, str, Any]]) -> None:
        while members:
            once: dict[str, tuple[Any, Any]] = {}
            again = []
            for at, name, content in members:
                if name in once:
                    again.append((at, name, content))
                else:
                    once[name] = at, content
            given = {name: content for name, (_, content) in once.items()}
            opened = await self._call(self._decrypt, "decrypt.json", About(context, "", ""), given)
            for name, (at, _) in once.items():
                if name not in opened:
                    raise HandlerFault(f"The encryption handler decrypt.json left out {name!r}")
                parent[at] = opened[name]
            members = again

    async def _call(self, handler: Any, name: str, about: About, document: dict[str, Any]) -> dict[str, Any]:
        from langgraph_sdk import EncryptionContext  # here: only projects that encrypt need it

        context = EncryptionContext(
            model=about.model or None, field=about.field or None, metadata=msgspec.json.decode(about.context)
        )
        with contained():
            async with asyncio.timeout(HANDLER_S):
                result = await handler(context, document)
        result = getattr(result, "plaintext", result)  # a DecryptResult: what is in the log is not replaced
        if not isinstance(result, dict):
            raise HandlerFault(f"The encryption handler {name} gave {type(result).__name__}, not a dict")
        return result


def load_json_handlers(project: Project | None) -> JsonHandlers | None:
    """Return the handlers of ``encryption.path``, or None if the project has none or stores JSON in clear. Raises StartError."""
    section = {} if project is None else project.section("encryption")
    if project is None or not section or section.get("json") == "clear":
        return None
    from langgraph_sdk import Encryption  # here: only projects that encrypt need it

    encryption = load_object(project, "encryption.path", section["path"], shared=True)
    if not isinstance(encryption, Encryption):
        raise StartError(
            f"encryption.path: {section['path']!r} is a {type(encryption).__name__}, not a langgraph_sdk.Encryption"
        )
    try:
        return JsonHandlers(encryption) if has_json_handlers(encryption) else None
    except HandlerFault as fault:
        raise StartError(f"encryption.path: {section['path']!r}: {fault}") from None


def has_json_handlers(encryption: Encryption) -> bool:
    """Return whether a project has both JSON handlers. Raises HandlerFault for one handler without the other."""
    both = encryption._json_encryptor is not None, encryption._json_decryptor is not None
    if any(both) and not all(both):
        raise HandlerFault("it needs handlers for both encrypt.json and decrypt.json, or for neither")
    return all(both)


def _is_envelope(value: Any) -> TypeGuard[dict[str, Any]]:
    if not isinstance(value, dict) or len(value) != 1 or MARK not in value:
        return False
    held = value[MARK]
    return isinstance(held, list) and (
        (len(held) == 1 and isinstance(held[0], dict))
        or (len(held) == 3 and isinstance(held[0], str) and isinstance(held[1], str))
    )


def _members(node: Any) -> Iterator[tuple[Any, Any]]:
    """Return the current members of an object or a list, with the name or index of each."""
    yield from list(node.items()) if isinstance(node, dict) else list(enumerate(node))


def _same(one: Any, other: Any) -> bool:
    """Return whether a handler left a value unchanged; 1 is not True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict | list):
        return bool(msgspec.json.encode(one) == msgspec.json.encode(other))
    return bool(one == other)
