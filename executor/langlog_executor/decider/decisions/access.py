"""Access to objects: the caller's filter against the state that the command changes (wire contract §18). Pure.

The gateway has checked in Postgres before; between its check and the decision the id may have become another user's. An
object that does not match is treated as if it did not exist.
"""

from __future__ import annotations

from langlog_schemas import commands as cmd
from langlog_schemas.aggregates.assistant import AssistantState
from langlog_schemas.aggregates.thread import ThreadState
from langlog_schemas.rules.filters import admits


def thread_refusal(state: ThreadState, command: cmd.Command) -> tuple[int, str] | None:
    """Return status and detail if the caller may not access the thread; None if the command may proceed."""
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
    """Return status and detail if the caller may not access the assistant, like `thread_refusal`."""
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
