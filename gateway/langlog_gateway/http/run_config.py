"""Checks of ``config``, ``context``, ``command`` and choices of a run. Pure.

``config.configurable`` and ``context`` are two spellings of one thing: given one, the other is filled (wire contract §2 and §5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from langlog_schemas.json_types import Object
from langlog_schemas.runs.request import NAMES_MAX, NULL, without_reserved
from msgspec import Meta, Raw, Struct

from .errors import ApiError, unprocessable
from .validation import compact, invalid, report

BOTH_GIVEN = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
    "LangGraph 0.6.0 and is the long term planned replacement for configurable."
)

CHECKPOINT_CHARACTERS_MAX = 1_000
"""Maximum length of the id or the namespace of a checkpoint, in characters."""


_MEMBERS: tuple[tuple[str, type, str, bool], ...] = (
    ("configurable", dict, "object", False),
    ("tags", list, "array", False),
    ("metadata", dict, "object", False),
    ("run_name", str, "string", True),
    ("recursion_limit", int, "integer", False),
    ("max_concurrency", int, "integer", True),
)
"""Members of a config that the server reads: name, type, name of the JSON type, and whether null means absent."""


def check_config(config: Object) -> None:
    """Check the types of the members that the server reads. Raises ApiError 422."""
    for name, kind, word, nullable in _MEMBERS:
        value = config.get(name)
        if name not in config or (nullable and value is None):
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            raise wrong_type(value, word, ["config", name])
    limit = config.get("max_concurrency")
    if limit is not None and limit < 1:
        raise invalid(f"{limit} is less than the minimum of 1", "minimum", ["config", "max_concurrency"], limit)


def check_checkpoint(configurable: Object, where: list[str]) -> None:
    """Check the types of a checkpoint's address: a worker copies it into the records that it writes. Raises ApiError 422."""
    for name in ("checkpoint_id", "checkpoint_ns"):
        value = configurable.get(name)
        if value is not None and not isinstance(value, str):
            raise wrong_type(value, "string", [*where, name])
        if value is not None and len(value) > CHECKPOINT_CHARACTERS_MAX:
            message = f"{compact(value)} is longer than {CHECKPOINT_CHARACTERS_MAX} characters"
            raise invalid(message, "maxLength", [*where, name], value)
    checkpoint_ids = configurable.get("checkpoint_map")
    if checkpoint_ids is None:
        return
    if not isinstance(checkpoint_ids, dict):
        raise wrong_type(checkpoint_ids, "object", [*where, "checkpoint_map"])
    for namespace, checkpoint_id in checkpoint_ids.items():
        if not isinstance(checkpoint_id, str):
            raise wrong_type(checkpoint_id, "string", [*where, "checkpoint_map", namespace])


def wrong_type(value: Any, word: str, path: list[str]) -> ApiError:
    """Return the 422 for a value that is not of the JSON type ``word``."""
    return invalid(f'{compact(value)} is not of type "{word}"', "type", path, value)


class _Target(Struct):
    """A node to go to with an input of its own."""

    node: str
    input: Raw = NULL


class _Command(Struct):
    """Members of a run's ``command`` (wire contract §5.1). ``resume`` is any JSON; others are ignored."""

    update: dict[str, Raw] | list[Raw] | None = None
    goto: str | _Target | Annotated[list[str | _Target], Meta(max_length=NAMES_MAX)] | None = None


_command = msgspec.json.Decoder(_Command)


def check_command(command: Mapping[str, Raw] | None) -> None:
    """Check the types within a run's ``command``. Raises ApiError 422."""
    if not command:
        return
    body = msgspec.json.encode(command)
    try:
        _command.decode(body)
    except msgspec.ValidationError as error:
        raise unprocessable(f"command: {report(str(error), body, _Command)}") from None


def check_choice(name: str, value: Any, first: str, second: str) -> None:
    """Check a member that must be one of two texts. Raises ApiError 422."""
    if value not in (first, second):
        message = f'{compact(value)} is not one of "{first}" or "{second}"'
        raise invalid(message, "enum", [name], value)


def mirrored(config: Object, context: Object, *, both: bool = False) -> tuple[Object, Object]:
    """Return both spellings filled in, without reserved keys. ``both``: either may be given, members of ``context`` win, as
    crons have it.

    Raises ApiError 422, and 400 when both are given and may not be.
    """
    check_config(config)
    configurable = config.get("configurable") or {}
    check_checkpoint(configurable, ["config", "configurable"])
    check_checkpoint(context, ["context"])
    if not (configurable or context):
        return config, {}
    if configurable and context and not both:
        raise ApiError(400, BOTH_GIVEN)
    given = without_reserved({**configurable, **context})
    return {**config, "configurable": given}, dict(given) if configurable else context
