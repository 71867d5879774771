"""Each row of the table of failures names tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.proof.sections.faults import ROWS, Row

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fails)
def test_a_row_names_tests_that_exist(row: Row) -> None:
    assert row.tests
    for test in row.tests:
        path, _, name = test.partition("::")
        defined = {
            node.name
            for node in ast.walk(ast.parse((TESTS / path).read_text()))
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        }
        assert name in defined, test
