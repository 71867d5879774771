"""Figures that the tests of faults have measured: one entry for each fault, with those of each log."""

from __future__ import annotations

import json

from tests.faults.page import gathered


def test_a_fault_has_the_last_figures_of_each_log() -> None:
    lines = [
        {"log": "kafka", "fault": "b", "seconds": 1.0, "calls": 1},
        {"log": "sqlite", "fault": "a", "seconds": 2.0, "calls": 2},
        {"log": "sqlite", "fault": "b", "seconds": 3.0, "calls": 3},
        {"log": "kafka", "fault": "b", "seconds": 4.0, "calls": 4},
    ]
    assert gathered([json.dumps(line) for line in lines], "abc", "2026-11-30") == {
        "date": "2026-11-30",
        "commit": "abc",
        "faults": [
            {"fault": "a", "sqlite": {"seconds": 2.0, "calls": 2}},
            {"fault": "b", "kafka": {"seconds": 4.0, "calls": 4}, "sqlite": {"seconds": 3.0, "calls": 3}},
        ],
    }
