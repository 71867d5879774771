"""Commands that deciders would pass over are found by the ends of their partitions."""

from __future__ import annotations

import pytest
from langlog_backbone.log import LogFault
from langlog_backbone.read_model.passed_commands import passed_over, refuse_passed
from langlog_schemas import events as ev
from langlog_schemas.envelope import Cause


def test_a_partition_that_ends_beyond_its_last_decided_command_is_well() -> None:
    assert passed_over({0: 4, 1: 0}, [5, 1, 0]) is None
    assert passed_over({}, [0, 0]) is None


@pytest.mark.parametrize("end", [0, 3, 4])
def test_one_that_ends_before_is_named_with_the_remedy(end: int) -> None:
    error = passed_over({0: 0, 1: 4}, [1, end])
    assert error is not None
    assert f"ends at offset {end} of partition 1" in error and "langlog log repair-commands" in error


def test_the_last_cause_of_any_topic_of_events_counts() -> None:
    done = {(ev.RUN_EVENTS, 0): Cause(0, 2, 0, 1), (ev.CRON_EVENTS, 0): Cause(0, 7, 0, 1)}
    refuse_passed(done, [8])
    with pytest.raises(LogFault, match="the command at offset 7 was decided"):
        refuse_passed(done, [7])
