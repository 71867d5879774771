"""Statements of the projector receive rows by position: their columns are those of the rows."""

from __future__ import annotations

import re

import pytest
from langlog_projector.apply import SQL, columns_of
from langlog_projector.folding.changes import RunRow, ThreadRow, WebhookRow

BY_POSITION = [name for name, statement in SQL.items() if len(re.findall(r"\bAS n \(", statement)) == 1]


@pytest.mark.parametrize("name", BY_POSITION)
def test_a_statement_names_as_many_columns_as_it_has_arrays(name: str) -> None:
    arrays = {int(number) for number in re.findall(r"\$(\d+)::[a-z0-9]+\[\]", SQL[name])}
    assert len(columns_of(SQL[name])) == max(arrays)


@pytest.mark.parametrize(
    ("name", "row"), [("insert_threads", ThreadRow), ("update_threads", ThreadRow), ("update_runs", RunRow)]
)
def test_columns_of_changed_rows_are_members_of_the_row(name: str, row: type) -> None:
    assert set(columns_of(SQL[name])[1:]) <= set(row.__slots__)  # type: ignore[attr-defined]


def test_every_member_of_a_row_is_written() -> None:
    assert set(ThreadRow.__slots__) == set(columns_of(SQL["insert_threads"])[1:])
    assert set(RunRow.__slots__) - {"new", "thread_id"} == set(columns_of(SQL["update_runs"])[1:])
    assert set(RunRow.__slots__) - {"new"} <= set(columns_of(SQL["insert_runs"])[1:])


def test_a_webhooks_row_has_its_columns_in_order() -> None:
    assert columns_of(SQL["insert_webhooks"]) == ("run_id", *WebhookRow._fields)
