"""LangSmith's headers of a caller become members of its run's configurable, and nothing else does."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from langlog_gateway.http.trace_headers import trace_configurable
from langsmith.run_trees import RunTree

ORDER = "20260101T000000000001Z01990000-0000-7000-8000-000000000001"


def test_what_langsmith_sends_comes_back_in_parts_and_as_it_came() -> None:
    parent = RunTree(
        name="caller", project_name="a project, really", extra={"metadata": {"team": "é"}}, tags=["a", "b c"]
    )
    headers = parent.to_headers()
    result = trace_configurable(headers)
    assert result["langsmith-trace"] == parent.dotted_order
    assert result["langsmith-project"] == "a project, really"
    assert result["langsmith-metadata"]["team"] == "é"
    assert result["langsmith-tags"] == ["a", "b c"]
    again = RunTree.from_headers({name: result[name] for name in ("langsmith-trace", "baggage")})
    assert (again.id, again.session_name, again.metadata["team"]) == (parent.id, "a project, really", "é")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, {}),
        ({"langsmith-trace": ORDER[:-1]}, {}),
        ({"langsmith-trace": f"{ORDER}.{ORDER}"}, {"langsmith-trace": f"{ORDER}.{ORDER}"}),
        ({"langsmith-trace": f"{ORDER}\n"}, {}),
        ({"langsmith-trace": ORDER.replace("20260101", "20261301")}, {}),
        ({"langsmith-trace": ORDER.replace("2026", "\u0662\u0660\u0662\u0666")}, {}),
        ({"langsmith-trace": ".".join([ORDER] * 200)}, {}),
        ({"baggage": "a=b,c"}, {}),
        (
            {"baggage": "user=secret, langsmith-project=p ;x=y"},
            {"langsmith-project": "p", "baggage": "langsmith-project=p ;x=y"},
        ),
        ({"baggage": "langsmith-project=" + "p" * 2_000}, {}),
        ({"baggage": "langsmith-metadata=" + quote('{"a": {"b": 1}}')}, {}),
        ({"baggage": "langsmith-metadata=" + quote(json.dumps({str(n): n for n in range(101)}))}, {}),
        ({"baggage": "langsmith-metadata=" + quote('{"a": 9223372036854775808}')}, {}),
        ({"baggage": "langsmith-metadata=" + quote('{"a": ' + "9" * 5_000 + "}")}, {}),
        ({"baggage": "langsmith-metadata=" + quote('{"a": NaN}')}, {}),
        ({"baggage": "langsmith-metadata=" + quote('{"a": 1e400}')}, {}),
        (
            {"baggage": "langsmith-metadata=" + quote('{"a\\u0000": "b\\u0000"}')},
            {
                "langsmith-metadata": {"a": "b"},
                "baggage": "langsmith-metadata=" + quote('{"a\\u0000": "b\\u0000"}'),
            },
        ),
        ({"baggage": "langsmith-tags=" + quote(",".join("t" * 101))}, {}),
        ({"baggage": "langsmith-replicas=" + quote('[{"api_url": "http://elsewhere"}]')}, {}),
        (
            {"baggage": "langsmith-project=%00%ff" + "," * 5_000},
            {"langsmith-project": "\ufffd", "baggage": "langsmith-project=%00%ff"},
        ),
    ],
)
def test_what_is_of_another_form_or_too_large_is_left_out(headers: dict[str, str], expected: dict[str, Any]) -> None:
    assert trace_configurable(headers) == expected
