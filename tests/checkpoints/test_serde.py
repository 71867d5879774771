"""Stored bytes come back as values, and never execute code that they ask for."""

from __future__ import annotations

import dataclasses
import pickle
import sys
import uuid
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from langlog_executor.serde import AllowedTypes, ProjectSerializer, pack, project_serializer, unpack
from pydantic import BaseModel


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
    """What a stored value looks like that wants ``module.name(*arguments)`` called."""
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
