"""Fixtures of all tests: real servers (`tests.stack.fixtures`), and the output of langlog's processes, shown with the test
that failed while they ran."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from tests.stack import server

pytest_plugins = ["tests.stack.fixtures", "tests.stack.parallel"]

# an example that takes long says something of the machine
hypothesis.settings.register_profile(
    "patient", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell without job control starts background jobs so, and all that the tests start would inherit it and ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def surroundings() -> Iterator[None]:
    """The environment is afterwards as before all tests: a project that is loaded in this process adds its variables."""
    yield
    for name in os.environ.keys() - ENVIRONMENT.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)


@pytest.fixture(autouse=True)
def logging_of_one_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Services in this process log to stderr, so that what a command prints is its own. A command's configuration applies to its test
    alone, and no logger keeps it: otherwise `capture_logs` of a later test would receive nothing from that logger."""
    configure = structlog.configure

    def uncached(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", uncached)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for process in server.running:
            report.sections.append((f"output of {process.name}", process.tail()))
    return report
