"""Stored bytes come back as values, and never execute code that they ask for."""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
import uuid
from pathlib import Path
from typing import Any

import msgspec
import ormsgpack
import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from langlog_executor.checkpoints import serde as serde_module
from langlog_executor.checkpoints.serde import AllowedTypes, ProjectSerializer, pack, project_serializer, unpack
from langlog_executor.values import encoding
from pydantic import BaseModel, Secret, SecretBytes, SecretStr


@dataclasses.dataclass
class Mine:
    a: int


class Model(BaseModel):
    b: str


HERE = [Path(__file__).parent]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"bytes",
        [1, "x", {"y": 2.5}],
        "long " * 1000,
        HumanMessage("hi", id="1"),
        [AIMessage("x" * 5000, id="2")],
        Interrupt(value={"q": 1}, id="i"),
        Send("node", {"a": 1}),
        uuid.uuid4(),
        Mine(1),
        Model(b="x"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_values_come_back_as_they_were(value: Any) -> None:
    serde = project_serializer(roots=HERE)
    assert unpack(serde, *pack(serde, value)) == value


PLAIN = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
MESSAGES = [
    HumanMessage("hi"),
    HumanMessage("hi", id="1", name="me", additional_kwargs={"x": {"y": [1, None]}}, response_metadata={"a": {1: 2}}),
    HumanMessage([{"type": "text", "text": "hi"}, "there"]),
    HumanMessage("hi", own="field"),  # type: ignore[call-arg]
    SystemMessage("be kind", id="2"),
    AIMessage("hello", id="3", response_metadata={"model": "m", "logprobs": None}),
    AIMessage("hello", usage_metadata={**PLAIN, "input_token_details": {"cache_read": 1}}),
    AIMessage("hello", usage_metadata=PLAIN),
    AIMessage("", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c"}]),
    AIMessage("", additional_kwargs={"tool_calls": [{"id": "c", "function": {"name": "t", "arguments": "{}"}}]}),
    AIMessage("", invalid_tool_calls=[{"name": "t", "args": "{", "id": "c", "error": "no"}]),
    AIMessageChunk(content="hel", id="4"),
    ToolMessage("done", tool_call_id="c", artifact={"z": b"1"}, status="error"),
    ChatMessage(content="hi", role="critic"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_come_back_as_their_class_would_make_them(message: BaseMessage) -> None:
    serde = project_serializer()
    kind, data = serde.dumps_typed(message)
    decoded = serde.loads_typed((kind, data))
    expected = JsonPlusSerializer().loads_typed((kind, data))
    assert type(decoded) is type(expected)
    for kept in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__"):
        assert getattr(decoded, kept) == getattr(expected, kept)
    assert [*decoded.__dict__] == [*expected.__dict__]
    decoded.content = "changed"
    assert decoded.model_copy().content == "changed"
    assert pack(serde, decoded) != pack(serde, expected)


class Own(HumanMessage):
    """A project's own kind of message."""


NESTED = HumanMessage("hi", id="6")
SAID = [
    *MESSAGES,
    Own(content="hi"),
    HumanMessage("hi", additional_kwargs={"nested": NESTED, "of": [NESTED]}),
    HumanMessage("hi", response_metadata={"at": 1.5, "ok": True, "none": None, "big": 2**60}),
    HumanMessage("hi", example=True),
    AIMessage("hi", usage_metadata=dict(reversed(PLAIN.items()))),
    AIMessage("hi", usage_metadata={**PLAIN, "output_token_details": {"reasoning": 1}, "input_token_details": {}}),
    AIMessage("hi", response_metadata={"x": {"y": NESTED}}),
    NESTED.model_copy(update={"content": ["changed", {"type": "text", "text": "later"}]}),
    NESTED.model_copy(update={"id": 7}),
    AIMessage("hi").model_copy(update={"tool_calls": [{"name": "t", "args": {}, "id": "c", "type": "tool_call"}]}),
]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("message", SAID, ids=lambda m: type(m).__name__)
def test_messages_are_written_as_their_class_would_write_them(message: BaseMessage) -> None:
    state = {"messages": [message], "last": message}
    assert project_serializer().dumps_typed(state) == JsonPlusSerializer().dumps_typed(state)
    said = message.model_dump()
    assert encoding.encode(message) == encoding.encode(said)
    assert msgspec.json.decode(encoding.encode(state)) == msgspec.json.decode(
        encoding.encode({"messages": [said], "last": said})
    )


def test_plain_messages_are_not_dumped_by_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [MESSAGES[0], MESSAGES[4], MESSAGES[5], MESSAGES[7]]
    monkeypatch.setattr(BaseMessage, "model_dump", lambda *_, **__: pytest.fail("dumped"))
    assert project_serializer().dumps_typed(plain)[1]
    assert encoding.encode(plain)


@pytest.mark.parametrize(
    "changed",
    [{"content": 5}, {"id": 7}, {"type": "other"}, {"name": ["x"]}, {"usage_metadata": {"input_tokens": "many"}}],
    ids=str,
)
def test_a_message_with_values_of_other_types_is_what_the_serializer_makes_of_it(changed: dict[str, Any]) -> None:
    values = AIMessage("hi", id="1").model_dump() | changed
    whole = ormsgpack.packb((AIMessage.__module__, "AIMessage", values, "model_validate_json"))
    data = ormsgpack.packb(ormsgpack.Ext(5, whole))
    assert project_serializer().loads_typed(("msgpack", data)) == JsonPlusSerializer().loads_typed(("msgpack", data))


def test_plain_messages_do_not_go_through_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    serde = project_serializer()
    plain = [serde.dumps_typed(m) for m in (MESSAGES[0], MESSAGES[4], MESSAGES[5], MESSAGES[7])]
    monkeypatch.setattr(BaseMessage, "__init__", lambda *_, **__: pytest.fail("validated again"))
    for kind, data in plain:
        serde.loads_typed((kind, data))


def test_what_is_large_is_compressed_and_what_is_small_is_not() -> None:
    serde = project_serializer()
    kind, data = pack(serde, "x" * 10_000)
    assert kind == "msgpack+zstd"
    assert len(data) < 100
    assert pack(serde, "x")[0] == "msgpack"


def test_types_of_others_come_back_as_plain_data() -> None:
    serde = project_serializer()
    assert unpack(serde, *pack(serde, Mine(1))) == {"a": 1}
    assert unpack(serde, *pack(serde, Model(b="x"))) == {"b": "x"}


def test_a_type_can_be_listed_in_langgraph_json_or_derived_from_a_graph() -> None:
    listed = project_serializer({"serde": {"allowed_msgpack_modules": [[__name__, "Mine"], f"{__name__}.Model"]}})
    for value in (Mine(1), Model(b="x")):
        assert unpack(listed, *pack(listed, value)) == value
    derived = project_serializer()
    assert derived.with_msgpack_allowlist([(__name__, "Mine")]) is derived
    assert unpack(derived, *pack(derived, Mine(1))) == Mine(1)


def call(module: str, name: str, *arguments: Any) -> bytes:
    """Return a stored value that requests the call ``module.name(*arguments)``."""
    return ormsgpack.packb(ormsgpack.Ext(1, ormsgpack.packb((module, name, arguments))))


def test_callables_are_not_called_whoever_they_belong_to(tmp_path: Path) -> None:
    serde = project_serializer(roots=[*HERE, tmp_path])
    target = tmp_path / "touched"
    for module, name, argument in (
        ("os", "system", f"touch {target}"),
        ("pathlib", "Path.touch", str(target)),
        ("builtins", "eval", f"open({str(target)!r}, 'w')"),
        (__name__, "call", "x"),
        ("subprocess", "check_output", f"touch {target}"),
    ):
        assert unpack(serde, "msgpack", call(module, name, argument)) in ([argument], (argument,))
    assert not target.exists()


def test_modules_are_not_imported_for_the_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("class Thing:\n    def __init__(self, x): raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    serde = project_serializer(roots=[tmp_path])
    assert unpack(serde, "msgpack", call("planted", "Thing", 1)) in ([1], (1,))
    assert "planted" not in sys.modules


def test_installed_packages_inside_the_project_folder_are_not_the_project() -> None:
    allowed = AllowedTypes(roots=[Path(sys.prefix)])
    assert ("aiohttp.web", "Application") not in allowed


def test_pickle_and_json_constructors_are_refused() -> None:
    serde = project_serializer(roots=HERE)
    with pytest.raises(NotImplementedError):
        unpack(serde, "pickle", pickle.dumps([1]))
    stored = b'{"lc": 2, "type": "constructor", "id": ["tests", "checkpoints", "test_serde", "Mine"], "args": [1]}'
    assert not isinstance(unpack(serde, "json", stored), Mine)
    with pytest.raises(ValueError, match="pickle_fallback"):
        project_serializer({"serde": {"pickle_fallback": True}})
    with pytest.raises(ValueError, match="allowed_msgpack_modules"):
        project_serializer({"serde": {"allowed_msgpack_modules": True}})


def test_the_library_still_lets_us_say_which_types_come_back() -> None:
    """`ProjectSerializer` stands on a hook that the library keeps to itself."""
    assert issubclass(ProjectSerializer, JsonPlusSerializer)
    serde = ProjectSerializer(AllowedTypes([(__name__, "Mine")]))
    assert unpack(serde, *pack(serde, Mine(2))) == Mine(2)


class Vault:
    """A third party's secret: no class that may come back."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get_secret_value(self) -> Any:
        return self._value


class WithKey(BaseModel):
    key: SecretStr
    raw: SecretBytes


@pytest.mark.parametrize(
    ("value", "kind", "held"),
    [
        (SecretStr("hush"), SecretStr, "hush"),
        (SecretBytes(b"hush"), SecretBytes, b"hush"),
        (Secret("hush"), Secret, "hush"),
        (Secret[int](4), Secret, 4),
        (Vault("hush"), SecretStr, "hush"),
        (Vault(b"hush"), SecretBytes, b"hush"),
    ],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"deep": [v]}, lambda v: (v,)], ids=["bare", "dict", "tuple"])
def test_a_secret_comes_back_as_a_secret_and_is_shown_masked(value: Any, kind: type, held: Any, wrap: Any) -> None:
    serde = project_serializer({})
    back: Any = unpack(serde, *pack(serde, wrap(value)))
    assert b"hush" not in encoding.encode(back)
    assert b"hush" not in encoding.encode(wrap(value))
    while not isinstance(back, kind):
        back = back["deep"] if isinstance(back, dict) else back[0]
    assert type(back) is kind
    assert back.get_secret_value() == held  # type: ignore[attr-defined]


@pytest.mark.parametrize("roots", [[], HERE], ids=["a class that may not come back", "a class of the project"])
def test_secrets_inside_a_model_stay_secrets(roots: list[Path]) -> None:
    serde = project_serializer({}, roots)
    back = unpack(serde, *pack(serde, WithKey(key="hush", raw=b"hush")))  # type: ignore[arg-type]  # pydantic converts
    assert b"hush" not in encoding.encode(back)
    key = back["key"] if isinstance(back, dict) else back.key
    assert isinstance(key, SecretStr)


def test_a_class_that_is_not_allowed_is_named_once_with_the_line_that_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The logged line, put into langgraph.json, restores the values."""
    collected: list[dict[str, Any]] = []
    monkeypatch.setattr(
        serde_module.logger, "warning", lambda event, **about: collected.append({"event": event, **about})
    )
    values: list[Any] = [Mine(1), Model(b="x"), Mine(2), {"a": [Model(b="y")]}]
    packed = [pack(project_serializer({}, HERE), value) for value in values]
    listed = {"serde": {"allowed_msgpack_modules": [["decimal", "Decimal"]]}}
    stranger = project_serializer(listed)
    shown = [unpack(stranger, *one) for one in packed]
    assert shown == [{"a": 1}, {"b": "x"}, {"a": 2}, {"a": [{"b": "y"}]}]
    assert [one["event"] for one in collected] == ["checkpoint.class_not_allowed"] * 2
    assert [one["cls"] for one in collected] == [f"{__name__}.Mine", f"{__name__}.Model"]
    line = collected[-1]["hint"].removeprefix("add to langgraph.json: ")
    section = json.loads(f"{{{line}}}")["checkpointer"]
    assert section["serde"]["allowed_msgpack_modules"][0] == ["decimal", "Decimal"]
    allowed = project_serializer(section)
    assert [unpack(allowed, *one) for one in packed] == values
    assert len(collected) == 2
