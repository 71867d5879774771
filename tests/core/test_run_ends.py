"""The one table of how runs end covers every outcome, final event, status and task state."""

from __future__ import annotations

from typing import get_args

import pytest
from langlog_gateway.agents.a2a_tasks import STATE_OF_STATUS, STATUSES_OF_STATE, State
from langlog_schemas import events as ev
from langlog_schemas.commands import Outcome
from langlog_schemas.runs.ends import FINAL_STATUSES, OUTCOME_OF, RUN_ENDS, FinalStatus, lifecycle


def test_each_outcome_has_one_end_and_each_final_event_belongs_to_one_outcome() -> None:
    assert set(RUN_ENDS) == set(get_args(Outcome))
    assert set(OUTCOME_OF) == set(get_args(ev.FinalRunEvent)) and len(OUTCOME_OF) == len(RUN_ENDS)


def test_the_final_statuses_are_those_of_runs_that_are_not_in_flight() -> None:
    assert FINAL_STATUSES == set(get_args(FinalStatus)) == set(get_args(ev.RunStatus)) - {"pending", "running"}


@pytest.mark.parametrize(
    ("status", "waits", "event"),
    [
        ("success", False, "completed"),
        ("success", True, "interrupted"),
        ("error", True, "failed"),
        ("timeout", False, "failed"),
        ("interrupted", False, "interrupted"),
    ],
)
def test_the_streaming_protocol_says_whether_a_run_completed_failed_or_was_interrupted(
    status: str, waits: bool, event: str
) -> None:
    assert lifecycle(status, waits=waits) == event


def test_each_status_has_a_task_state_and_each_task_state_its_statuses() -> None:
    assert set(STATE_OF_STATUS) == set(get_args(ev.RunStatus))
    assert STATUSES_OF_STATE == {
        "submitted": ["pending"],
        "working": ["running"],
        "completed": ["success"],
        "failed": ["error", "timeout"],
        "canceled": ["interrupted"],
        "input-required": ["success"],
    }
    assert set(STATUSES_OF_STATE) == set(get_args(State))
