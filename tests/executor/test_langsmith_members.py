"""Values that clients set in the configurable under LangSmith's names put a run into a trace, and never make it fail."""

from __future__ import annotations

from typing import Any

import pytest
from langlog_executor.worker.langsmith_traces import traced

ORDER = "20260101T000000000001Z01990000-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def _tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "k")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")


def placed(configurable: dict[str, Any]) -> dict[str, Any]:
    from langsmith.run_helpers import get_tracing_context

    with traced(configurable, None) as callbacks:
        assert callbacks
        return dict(get_tracing_context())


@pytest.mark.parametrize(
    "order", [5, "x", "", ["a"], ORDER.replace("20260101", "20261301"), ORDER[:22] + "x", "." + ORDER + "."]
)
def test_a_trace_that_cannot_be_read_is_no_parent(order: object) -> None:
    assert placed({"langsmith-trace": order})["parent"] is None


def test_members_of_another_kind_are_left_out() -> None:
    result = placed(
        {"langsmith-metadata": "x", "langsmith-tags": "abc", "langsmith-project": ["p"], "langsmith-trace": ORDER}
    )
    assert (result["metadata"], result["tags"], result["project_name"]) == ({}, [], None)
    assert result["parent"].dotted_order == ORDER
    result = placed({"langsmith-metadata": {"a": 1}, "langsmith-tags": ["a", 5], "langsmith-project": "p"})
    assert (result["metadata"], result["tags"], result["project_name"]) == ({"a": 1}, ["a"], "p")
