"""What all tests share: real servers (`tests.stack.fixtures`), and the output of langlog's processes, shown with the test
that failed while they ran."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

from tests.stack import server

pytest_plugins = ["tests.stack.fixtures"]

# an example that takes long says something of the machine
hypothesis.settings.register_profile(
    "patient", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def surroundings() -> Iterator[None]:
    """The environment is afterwards as before all tests: a project that is loaded in this process adds its variables."""
    yield
    for name in os.environ.keys() - ENVIRONMENT.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for process in server.running:
            report.sections.append((f"output of {process.name}", process.tail()))
    return report
