"""Request bodies: JSON into typed Structs, or 422 with the validator's report (wire contract §1.1 and §1.2).

The report has the peer's form: message, failed keyword, offending value. Clients depend on the status and on ``detail``
being a string, not on the text. Nothing here waits but for the body.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from aiohttp import web
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.webhook_policy import WebhookPolicy, WebhookRefused
from langlog_backbone.values import json_shape
from langlog_backbone.values.json_shape import JSON_DEPTH_MAX
from yarl import URL

from .errors import ApiError, unprocessable

T = TypeVar("T")

BAD_JSON = "Invalid JSON in request body"
NUL_INSIDE = "Strings must not contain the NUL character (\\u0000): it cannot be stored"
TOO_DEEP = f"JSON must not be nested deeper than {JSON_DEPTH_MAX} arrays and objects"
FILTER_VALUES_MAX = 20_000
"""Maximum number of values in a metadata filter. Postgres looks each of them up in its index and compares all of them with each
object that was changed lately: with 100,000 of them for ten seconds."""
REPORTED_BYTES_MAX = 100_000
"""Size in bytes above which a body is not decoded again for a report of its errors."""
DIGITS_MAX = 18
"""Maximum number of digits of a number in an address or a header: it fits into 64 bits. `int` raises for more than 4,300."""
SHOWN_CHARACTERS_MAX = 2_000
"""Maximum number of characters of a value in a report."""

NO_SCHEMA = "is not valid under any of the schemas listed in the 'anyOf' keyword"
CHOICES_SHOWN = 3
"""Maximum number of choices in a report; more are counted: ``"a", "b" or 2 other candidates``."""
_PATH = re.compile(r" - at `(key in )?\$(.*)`$")
_NO_INTEGER = re.compile(r"Expected `int(?: \| null)?`, got `float`")
_STEP = re.compile(r"\.([^.\[]+)|(\[[^\]]*\])")
_TYPES = {
    "int": "integer",
    "float": "number",
    "str": "string",
    "bool": "boolean",
    "array": "array",
    "object": "object",
    "null": "null",
}


async def read_body(request: web.Request, decoder: msgspec.json.Decoder[T]) -> T:
    """Read and decode the request's body. Raises ApiError 422; the server raises 413 for one over the limit."""
    return decode_body(await request.read(), decoder)


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a body, like `read_body`. ``Raw`` members are checked as far as storing them requires."""
    try:
        decoded = decoder.decode(body)
        check_json(body)
    except msgspec.ValidationError as error:
        if (whole := _with_whole_numbers(str(error), body)) is not None:
            return decode_body(whole, decoder)
        raise unprocessable(report(str(error), body, decoder.type)) from None
    except RecursionError:
        raise unprocessable(TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise unprocessable(BAD_JSON) from None
    return decoded


def _with_whole_numbers(message: str, body: bytes) -> bytes | None:
    """Return the body with the member that the decoder's error names as an integer; None if JSON Schema does not count it as one.

    There ``10.0`` is an integer (2020-12, validation, §6.1.1), which some libraries write for every number.
    """
    at = _PATH.search(message)
    if at is None or not _NO_INTEGER.match(message) or len(body) > REPORTED_BYTES_MAX:
        return None
    *outer, name = [key for key, _ in _STEP.findall(at.group(2))]
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    members = value
    for key in outer:
        members = members.get(key) if isinstance(members, dict) else None
    if not isinstance(members, dict) or not isinstance(number := members.get(name), float) or not number.is_integer():
        return None
    members[name] = int(number)
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None


def check_json(body: bytes | str) -> None:
    """Check the requirements of `decode_body` on all JSON besides types. ``body``: valid JSON.

    Raises ApiError 422, UnicodeDecodeError, and MsgspecError for a number beyond a float.
    """
    if isinstance(body, str):
        body = body.encode()
    elif not body.isascii():
        body.decode("utf-8")  # Raw members are not looked into by the decoder
    if json_shape.has_nul(body):
        raise unprocessable(NUL_INSIDE)
    check_depth(body)
    if json_shape.may_exceed_float(body):
        msgspec.json.decode(body)  # in Raw members numbers have not been tried yet


def check_depth(body: bytes) -> None:
    """Raise ApiError 422 for JSON that is nested too deeply."""
    if json_shape.too_deep(body):
        raise unprocessable(TOO_DEEP)


def decode_any(body: bytes) -> Any:
    """Decode JSON of any type, for callers that check it themselves. Raises ApiError 422 for deep nesting, and DecodeError."""
    try:
        decoded = msgspec.json.decode(body)
    except UnicodeDecodeError as error:  # of a string that is not UTF-8: the decoder has no error of its own for it
        raise msgspec.DecodeError(str(error)) from None
    except RecursionError:
        raise unprocessable(TOO_DEEP) from None
    check_depth(body)
    return decoded


def check_sizes(settings: Settings, *, metadata: Any = None, config: Any = None, context: Any = None) -> None:
    """Check that members that are written again with each change, or passed on with each run, are small enough. Raises
    ApiError 422."""
    for name, value, limit in (
        ("metadata", metadata, settings.max_metadata_bytes),
        ("config", config, settings.max_config_bytes),
        ("context", context, settings.max_config_bytes),
    ):
        if isinstance(value, dict) and value and (size := len(msgspec.json.encode(value))) > limit:
            raise ApiError(422, f"{name} has {size} bytes as JSON, more than {limit}. Keep what is large in the store.")


def metadata_filter(metadata: dict[str, Any]) -> str:
    """Return what metadata must contain, as JSON. Raises ApiError 422 for more than `FILTER_VALUES_MAX` values."""
    count = 0
    waiting: list[Any] = [metadata]
    while waiting:
        inner = waiting.pop()
        count += len(inner)
        waiting += [
            value for value in (inner.values() if isinstance(inner, dict) else inner) if isinstance(value, dict | list)
        ]
    if count > FILTER_VALUES_MAX:
        raise ApiError(
            422, f"metadata has {count} values, a filter at most {FILTER_VALUES_MAX}: search by fewer of them"
        )
    return msgspec.json.encode(metadata).decode()


def check_webhook(policy: WebhookPolicy, url: str) -> None:
    """Check that a webhook may be sent to the URL (wire contract §12). Raises ApiError 422."""
    try:
        policy.target(url)
    except WebhookRefused as refused:
        raise ApiError(422, str(refused)) from None


def violation(message: str, keyword: str, path: Sequence[str | int], value: Any) -> str:
    """Return a report in the validator's form. ``path``: names of members and numbers of entries that lead to the value."""
    schema = "".join('["items"]' if isinstance(step, int) else f'["properties"]["{step}"]' for step in path)
    instance = "".join(f"[{step}]" if isinstance(step, int) else f'["{step}"]' for step in path)
    return (
        f'{message}\n\nFailed validating "{keyword}" in schema{schema}\n\nOn instance{instance}:\n    {compact(value)}'
    )


def invalid(message: str, keyword: str, path: Sequence[str | int], value: Any) -> ApiError:
    """Return the 422 for a value that the server itself has checked, with the report of `violation`."""
    return unprocessable(violation(message, keyword, path, value))


def compact(value: Any) -> str:
    shown = msgspec.json.encode(value, order="sorted").decode()
    return shown if len(shown) <= SHOWN_CHARACTERS_MAX else f"{shown[:SHOWN_CHARACTERS_MAX]}…"


def report(message: str, body: bytes, kind: Any = None) -> str:
    """Return the decoder's error as a validator's report. ``kind``: the expected type, for the choices that there are."""
    if len(body) > REPORTED_BYTES_MAX:
        return message
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return BAD_JSON
    return _reported(message, kind, value, [])


def _reported(message: str, kind: Any, value: Any, outer: Sequence[str | int]) -> str:
    """Return the report for a value at the path ``outer``."""
    path: list[str] = []
    at = _PATH.search(message)
    if at is not None:
        if at.group(2).startswith("[") and isinstance(value, list):
            return _of_entry(message, kind, value)
        message = message[: at.start()]
        for name, index in _STEP.findall(at.group(2)):
            if index or not isinstance(value, dict) or name not in value:
                break  # inside a list the decoder does not report which entry: the report quotes the list
            path.append(name)
            value = value[name]
    if message.startswith("Invalid enum value"):
        return _unknown_choice(_kind_at(kind, path), [*outer, *path], value)
    return _phrase(message, [*outer, *path], value)


def _of_entry(message: str, kind: Any, entries: list[Any]) -> str:
    """Return the report for a list's first invalid entry."""
    of_entry = next((get_args(part)[0] for part in _parts(kind) if get_origin(part) is list), Any)
    for n, entry in enumerate(entries):
        try:
            msgspec.json.decode(msgspec.json.encode(entry), type=of_entry)
        except msgspec.ValidationError as error:
            return _reported(str(error), of_entry, entry, [n])
    return message


def _unknown_choice(kind: Any, path: Sequence[str | int], value: Any) -> str:
    """Return the report for a value, or a list's first entry, that is not an allowed choice."""
    choices = next((get_args(part) for part in _parts(kind) if get_origin(part) is Literal), ())
    shown = CHOICES_SHOWN
    if get_origin(kind) in (Union, UnionType) and (lists := [p for p in _parts(kind) if get_origin(p) is list]):
        if get_origin(get_args(lists[0])[0]) is not Literal:  # one name, or a list of any names
            return violation(f"{compact(value)} {NO_SCHEMA}", "anyOf", path, value)
        shown = len(choices)  # one or several: a client of a newer protocol has to know which there are
    if not isinstance(value, list):
        return violation(f"{compact(value)} is not {_one_of(choices, shown)}", "enum", path, value)
    n = next((n for n, entry in enumerate(value) if entry not in choices), 0)
    return violation(f"{compact(value[n])} is not {_one_of(choices, shown)}", "enum", [*path, n], value[n])


def _kind_at(kind: Any, path: Sequence[str]) -> Any:
    """Return the type of a member of a Struct."""
    for name in path:
        kind = next((p for p in _parts(kind) if isinstance(p, type) and issubclass(p, msgspec.Struct)), None)
        kind = get_type_hints(kind).get(name) if kind is not None else None
    return kind


def _parts(kind: Any) -> Iterator[Any]:
    """Yield the type, and the members of its union."""
    yield kind
    if get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from _parts(part)


def _one_of(choices: Sequence[str], most: int) -> str:
    names = [compact(choice) for choice in choices]
    if not names:
        return "one of the values allowed here"
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} other candidates"]
    return f"one of {', '.join(names[:-1])} or {names[-1]}"


def _phrase(message: str, path: Sequence[str | int], value: Any) -> str:
    shown = compact(value)
    missing = re.match(r"Object missing required field `(.+)`", message)
    if missing:
        return violation(f'"{missing.group(1)}" is a required property', "required", path, value)
    bound = re.match(r"Expected `(\w+)` (of length )?([<>]=) (\S+)", message)
    if bound:
        length, sign, limit = bound.group(2), bound.group(3), bound.group(4)
        if length:
            unit = "item" if bound.group(1) == "array" else "character"
            unit += "" if limit == "1" else "s"
            few = f"has less than {limit} {unit}" if unit.startswith("item") else f"is shorter than {limit} {unit}"
            many = f"has more than {limit} {unit}" if unit.startswith("item") else f"is longer than {limit} {unit}"
            keyword = f"{'min' if sign == '>=' else 'max'}{'Items' if unit.startswith('item') else 'Length'}"
            return violation(f"{shown} {few if sign == '>=' else many}", keyword, path, value)
        word = "less than the minimum" if sign == ">=" else "greater than the maximum"
        return violation(f"{shown} is {word} of {limit}", "minimum" if sign == ">=" else "maximum", path, value)
    wanted = re.match(r"Expected `([^`]+)`", message)
    if wanted:
        names = sorted(f'"{_TYPES.get(name, name)}"' for name in wanted.group(1).split(" | "))
        if '"array"' in names and names not in (['"array"'], ['"array"', '"null"']):
            return violation(f"{shown} {NO_SCHEMA}", "anyOf", path, value)
        kind = f"is not of type {names[0]}" if len(names) == 1 else f"is not of types {', '.join(names)}"
        return violation(f"{shown} {kind}", "type", path, value)
    return violation(message, "value", path, value)


# --- single values ---------------------------------------------------------------------------


def canonical_uuid(text: str) -> str | None:
    """Return a UUID in its canonical spelling; None: the text is not a UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def uuid_of(text: str, what: str) -> str:
    """Return the canonical UUID. ``what``: assistant, thread, run. Raises ApiError 422."""
    if (canonical := canonical_uuid(text)) is None:
        raise unprocessable(f"Invalid {what} ID: must be a UUID")
    return canonical


def url_of(request: web.Request) -> URL:
    """Return the request's absolute URL, by the name of the server that its client uses. Raises ApiError 400 for a ``Host`` that is
    not a name (RFC 9112 §3.2)."""
    try:
        url = request.url
        url.origin()
    except ValueError:
        raise ApiError(400, f"The header Host is {request.host[:200]!r}: send the name of this server") from None
    return url


def path_uuid(request: web.Request, what: str) -> str:
    """Return the UUID in the path parameter ``<what>_id``. Raises ApiError 422."""
    return uuid_of(request.match_info[f"{what}_id"], what)


def whole_number(text: str) -> int | None:
    """Return the number that decimal digits write; None for any other text, and for more than `DIGITS_MAX` digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX else None


def query_int(request: web.Request, name: str, default: int) -> int:
    """Return an integer of the query string. Raises ApiError 400 with the message of `int`."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        return max(min(int(text), 2**31 - 1), -(2**31))
    except ValueError:
        raise ApiError(400, f"invalid literal for int() with base 10: {text!r}") from None


def query_names(request: web.Request, *keys: str) -> list[str]:
    """Return the names in a repeated parameter, or as in `listed`."""
    return listed(text for key in keys for text in request.query.getall(key, []))


def listed(texts: Iterable[str]) -> list[str]:
    """Return the texts; a JSON array of texts is replaced by its members: the JavaScript client writes lists so."""
    names: list[str] = []
    for text in texts:
        try:
            names += msgspec.json.decode(text, type=list[str])
        except (msgspec.MsgspecError, RecursionError):
            names.append(text)
    return names


def truthy(text: str | None) -> bool:
    """Return True for ``true`` or ``1``; anything else is false (wire contract §1.6)."""
    return text is not None and text.lower() in ("true", "1")
