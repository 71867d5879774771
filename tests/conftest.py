"""What all tests share: real servers (`tests.stack.fixtures`), and the output of langlog's processes, shown with the test
that failed while they ran."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.stack import server

pytest_plugins = ["tests.stack.fixtures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for process in server.running:
            report.sections.append((f"output of {process.name}", process.tail()))
    return report
