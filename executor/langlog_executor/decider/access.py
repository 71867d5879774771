"""Whose object a command may touch: the caller's filter against the state that is decided about (wire contract §18). Pure.

The gateway has looked in Postgres before; between its look and the decision the id may have become somebody else's. What does not
match is answered as if it were not there.
"""

from __future__ import annotations

from langlog_schemas import commands as cmd
from langlog_schemas.aggregates.assistant import AssistantState
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.rules.filters import admits


def thread_refusal(state: ThreadState, command: cmd.Command) -> tuple[int, str] | None:
    """Status and detail when the thread is not the caller's; None when the command may go on."""
    if not isinstance(command, cmd.ThreadCommand) or not state.exists or admits(command.visible, state.metadata):
        return None
    match command:
        case cmd.CreateThread():
            return 409, f"Thread with ID {state.thread_id} already exists"
        case cmd.CreateRun():
            return 404, "Thread or assistant not found."
        case cmd.PatchThread():
            return 404, "Not Found"
        case cmd.CancelRuns():
            return 404, "No runs found to cancel."
        case cmd.DeleteRun():
            return 404, "Run not found"
        case _:
            return 404, f"Thread with ID {state.thread_id} not found"


def assistant_refusal(state: AssistantState, command: cmd.Command) -> tuple[int, str] | None:
    """As `thread_refusal`, of an assistant."""
    if not isinstance(command, cmd.AssistantCommand) or state.current is None:
        return None
    if admits(command.visible, state.current.metadata):
        return None
    match command:
        case cmd.CreateAssistant():
            return 409, f"Assistant {state.assistant_id} already exists"
        case cmd.DeleteAssistant():
            return 404, f"Assistant with ID {state.assistant_id} not found"
        case _:
            return 404, f"Assistant {state.assistant_id} not found"
