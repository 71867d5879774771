"""Effects of an option of a client's method: one request without it, one with it, and the name of the difference.

A method has a `Way` to call it and observe the result, and a `Change` for each of its options. Observations are JSON; ids that the server
mints and times are masked, and a difference is named by its path there. A required option is passed twice, with
two values (``instead``).
"""

from __future__ import annotations

import asyncio
import inspect
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from langgraph_sdk.client import LangGraphClient

from tests.sdk.driver import _followed

Options = dict[str, Any]
_MINTED = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")


class Scene:
    """The state before both requests. ``names``: ids by name; changes may use all its attributes."""

    def __init__(self, client: LangGraphClient) -> None:
        self.client = client
        self.suite = str(uuid.uuid4())
        self.known: dict[str, str] = {}
        self.args: Options = {}
        """Options of every request."""
        self.about: dict[str, Any] = {}
        self.leave_with: Callable[[], Awaitable[object]] | None = None
        """Takes away what other scenes would notice, once all has been looked at."""

    def name(self, name: str, id: str) -> str:
        self.known[id] = name
        return id

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["about"][name]
        except KeyError:
            raise AttributeError(name) from None


Setting = Callable[[Scene], Awaitable[None]]
Look = Callable[[Scene, Options, Any], Awaitable[Any]]


async def nothing(scene: Scene) -> None:
    """No more than the server has."""


async def the_answer(scene: Scene, given: Options, answer: Any) -> Any:
    return answer


class Change(NamedTuple):
    """``given`` may be made of the scene; ``more``: options of both requests."""

    shows: str
    given: Any
    instead: Any = None
    """Value in the other request, for a required option; its default otherwise."""
    more: Any = {}
    set: Setting | None = None


class Way(NamedTuple):
    set: Setting
    look: Look
    changes: Mapping[str, Change]


class Seen(NamedTuple):
    without: Any
    with_it: Any

    @property
    def differences(self) -> set[str]:
        return set(_differences("", self.without, self.with_it))


async def seen(client: LangGraphClient, method: str, option: str, way: Way) -> Seen:
    """Both requests, each in a scene of its own."""
    change = way.changes[option]
    collected = []
    for given in (change.instead, change.given):
        scene = Scene(client)
        await (change.set or way.set)(scene)
        more = {name: _made(value, scene) for name, value in _made(change.more, scene).items()}
        options = {**scene.args, **more}
        if given is not None or given is change.given:
            options[option] = _made(given, scene)
        collected.append(_masked(await _looked(scene, method, options, way.look), scene.known))
        if scene.leave_with is not None:
            await scene.leave_with()
    return Seen(*collected)


async def _looked(scene: Scene, method: str, options: Options, look: Look) -> Any:
    part, _, name = method.partition(".")
    until, leave = options.pop("_until", None), options.pop("_leave", None)
    try:
        call = getattr(getattr(scene.client, part), name)
        first = [n for n, one in inspect.signature(call).parameters.items() if one.kind is one.POSITIONAL_ONLY]
        answer = call(*(options[n] for n in first), **{n: value for n, value in options.items() if n not in first})
        if leave is not None:
            waiting = asyncio.ensure_future(answer)
            await leave(scene)
            waiting.cancel()
            await asyncio.wait([waiting])
            answer = None
        else:
            answer = await answer if inspect.isawaitable(answer) else answer
            answer = await _followed(answer, until) if hasattr(answer, "__aiter__") else answer
    except Exception as error:
        return {"error": type(error).__name__}
    return await look(scene, options, answer)


def _made(value: Any, scene: Scene) -> Any:
    return value(scene) if callable(value) and getattr(value, "__name__", "") == "<lambda>" else value


def _masked(value: Any, known: Mapping[str, str]) -> Any:
    """The value with minted ids and times as what they are, so that what differs is no id."""
    if isinstance(value, dict):
        return {_text(key, known): _masked(member, known) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(member, known) for member in value]
    return _text(value, known) if isinstance(value, str) else value


def _text(text: str, known: Mapping[str, str]) -> str:
    text = _TIME.sub("<time>", text)
    return _MINTED.sub(lambda found: known.get(found.group(), "<id>"), text)


def _differences(path: str, one: Any, other: Any) -> list[str]:
    """Paths of what differs, and of what holds it; a member of a list is ``*``."""
    if one == other and type(one) is type(other):
        return []
    collected = [path] if path else []
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            inner = f"{path}.{key}" if path else str(key)
            if key not in one or key not in other:
                collected.append(inner)
            else:
                collected += _differences(inner, one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            collected.append(f"{path}.length".lstrip("."))
        for a, b in zip(one, other, strict=False):
            collected += _differences(f"{path}.*".lstrip("."), a, b)
    else:  # what only one of them is made of
        collected += [str(key) for one_of in (one, other) if isinstance(one_of, dict) for key in one_of if not path]
    return collected or ["answer"]
