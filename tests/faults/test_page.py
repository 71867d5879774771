"""Figures that the tests of faults have measured: one entry for each fault, with those of each log."""

from __future__ import annotations

import json
import random
from typing import Any, cast

from tests.faults.chaos import Chaos, tried
from tests.faults.load import Load
from tests.faults.many import ManyRuns
from tests.faults.page import gathered
from tests.history.clients import Wait
from tests.history.workload import Workload
from tests.loss.witness import Witness
from tests.proof.sections import chaos as section


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


def test_what_chaos_writes_makes_the_section_of_the_page() -> None:
    """Its other members are written where the rig is."""
    clients = Workload(cast(Any, None), [], 1, 0.0)
    clients.client("queue").waits.append(Wait("read", 10.0, 10.5))
    load, many = Load("kafka", clients, [("kafka is killed", 9.0, 11.0)]), ManyRuns(clients, Witness(), 50)
    clients.acknowledged_runs = 1_200
    chaos = Chaos(cast(Any, None), load, random.Random(1))
    chaos.counts["kafka is killed"] += 1
    figures = tried(load, many, chaos, [500.0, 700.0], 0.0, 120.0)
    figures |= {"seed": 7, "runs_of_crons": 3, "violations": []}
    figures["calls"] = {"answered": 1}
    text = section.text(json.loads(json.dumps(figures)))
    assert "1,200 acknowledged runs** (600 a minute; of half minutes 500 to 700, p50 600), 3 runs of crons" in text
    assert "| kafka is killed | 1 | 500 | 500 |" in text
