"""A command that a graph has addressed to the graph around it (``Command(graph=Command.PARENT)``), as the event ``command`` of its
run (wire contract §6.2). Pure.

langgraph's `RemoteGraph` raises it anew where it was called, so that a graph elsewhere obeys a command of one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.errors import ParentCommand
from langgraph.types import Command, Send


def command_of(error: BaseException) -> Mapping[str, Any] | None:
    """Return the members of the command with which a run has left its graph; None for any other error."""
    if not isinstance(error, ParentCommand) or len(error.args) != 1 or not isinstance(error.args[0], Command):
        return None
    command = error.args[0]
    return {
        "graph": command.graph
        or Command.PARENT,  # langgraph puts the namespace of the parent there, which of the root is empty
        "update": command.update,
        "resume": command.resume,
        "goto": _places(command.goto),
    }


def _places(goto: Any) -> Any:
    """Return where to go on in the form in which the API takes it (wire contract §5.1)."""
    return [_place(place) for place in goto] if isinstance(goto, list | tuple) else _place(goto)


def _place(goto: Any) -> Any:
    return {"node": goto.node, "input": goto.arg} if isinstance(goto, Send) else goto
