"""JSON Schemas of graphs whose state types pydantic refuses as a whole."""

from __future__ import annotations

import operator
import typing
from typing import Any

import typing_extensions
from langgraph.graph import START, StateGraph
from langlog_executor.graphs.schemas import graph_schemas


class Inner(typing.TypedDict):
    count: int


class Plain(typing.TypedDict):
    text: str
    inner: Inner | None
    several: list[Inner]
    maybe: typing_extensions.NotRequired[int]


class Marked(typing_extensions.TypedDict):
    text: str
    files: typing.Annotated[typing_extensions.NotRequired[dict[str, int]], operator.or_]


class Opaque:
    pass


class WithOpaque(typing.TypedDict):
    text: str
    handle: Opaque


class Own(typing.TypedDict):
    text: str
    children: list[Own]


def schemas(state: Any) -> dict[str, Any]:
    graph = StateGraph(state).add_node("n", lambda s: {"text": "x"}).add_edge(START, "n").compile()
    return graph_schemas(graph)


def test_a_typed_dict_of_the_standard_library_has_every_schema() -> None:
    result = schemas(Plain)
    for member in ("input_schema", "output_schema", "state_schema"):
        assert result[member]["type"] == "object"
        assert set(result[member]["properties"]) == {"text", "inner", "several", "maybe"}
    assert result["input_schema"]["required"] == ["text", "inner", "several"]
    assert result["input_schema"]["properties"]["text"] == {"title": "Text", "type": "string"}
    assert result["input_schema"]["properties"]["several"]["type"] == "array"


def test_a_key_that_is_marked_inside_annotated_is_an_optional_field() -> None:
    result = schemas(Marked)
    assert result["input_schema"]["required"] == ["text"]
    assert result["state_schema"]["properties"]["files"]["type"] == "object"


def test_a_field_without_a_schema_is_open_and_the_others_keep_theirs() -> None:
    result = schemas(WithOpaque)
    for member in ("input_schema", "output_schema", "state_schema"):
        assert result[member]["properties"]["text"]["type"] == "string"
        assert "type" not in result[member]["properties"]["handle"]


def test_a_type_that_contains_itself_has_a_schema() -> None:
    assert schemas(Own)["input_schema"]["properties"]["text"]["type"] == "string"
