"""What all tests share: real servers (`tests.stack.fixtures`), and the output of langlog's processes, shown with the test
that failed while they ran."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.stack import server

pytest_plugins = ["tests.stack.fixtures"]


@pytest.fixture(autouse=True)
def surroundings() -> Iterator[None]:
    """The environment is afterwards what it was before: a project that is loaded in this process adds its variables."""
    before = dict(os.environ)
    yield
    before["PYTEST_CURRENT_TEST"] = os.environ["PYTEST_CURRENT_TEST"]
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for process in server.running:
            report.sections.append((f"output of {process.name}", process.tail()))
    return report
