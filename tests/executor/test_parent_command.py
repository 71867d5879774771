"""The event with which a run leaves its graph for the graph around it. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.errors import ParentCommand
from langgraph.types import Command, Send
from langlog_executor.values.parent_command import command_of


def test_the_parent_of_the_root_is_named_as_clients_know_it() -> None:
    error = ParentCommand(Command(graph="", update={"k": 1}, goto="next"))
    assert command_of(error) == {"graph": Command.PARENT, "update": {"k": 1}, "resume": None, "goto": "next"}


def test_a_graph_of_another_name_keeps_it() -> None:
    command = command_of(ParentCommand(Command(graph="elsewhere")))
    assert command is not None
    assert command["graph"] == "elsewhere"


@pytest.mark.parametrize(
    ("goto", "shown"),
    [
        ("a", "a"),
        (Send("a", {"k": 1}), {"node": "a", "input": {"k": 1}}),
        (["a", Send("b", 2)], ["a", {"node": "b", "input": 2}]),
        (("a",), ["a"]),
        ((), []),
    ],
)
def test_places_are_shown_in_the_form_in_which_a_run_takes_them(goto: Any, shown: Any) -> None:
    command = command_of(ParentCommand(Command(graph=Command.PARENT, goto=goto)))
    assert command is not None
    assert command["goto"] == shown


def test_a_goto_that_holds_itself_is_no_loop() -> None:
    places: list[Any] = ["a"]
    places.append(places)
    command = command_of(ParentCommand(Command(goto=places)))
    assert command is not None
    assert command["goto"][0] == "a"


@pytest.mark.parametrize("error", [ValueError("x"), ParentCommand("no command")])  # type: ignore[arg-type]  # as a node may raise it
def test_any_other_error_is_none(error: BaseException) -> None:
    assert command_of(error) is None
