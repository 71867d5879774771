"""Time and chance come through one port, `langlog_backbone.time.sources`: a simulation that replaces it has all of them."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from langlog_backbone.time import clock, sources

from tests.stack.sources import SeededChance, SteppedClock
from tests.stack.syntax import parsed

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "backbone", "gateway", "executor", "projector", "scheduler", "cli")
DIRECT = (
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "time.localtime",
    "time.gmtime",
    "time.strftime",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "threading.Timer",
    "os.urandom",
    "uuid.uuid1",
    "uuid.uuid4",
    "uuid.uuid6",
    "uuid.uuid7",
    "random",
    "secrets",
    "uuid_utils",
    "AESGCM.generate_key",
)
"""Names that read a clock, block a thread or draw by chance; a module includes all its names."""
EXCEPTIONS = {
    "backbone/langlog_backbone/time/sources.py": "the port",
    "backbone/langlog_backbone/embedded/orphans.py": "waits for processes of an earlier start to end, in their time",
    "backbone/langlog_backbone/process/ending.py": "ends this process when its loop no longer runs: in the machine's time",
    "cli/langlog/services/running.py": "ends this process when its loop no longer runs: in the machine's time",
}

STOPWATCHES = re.compile(r"\b(perf_counter|process_time|thread_time)(_ns)?\b")


def test_no_test_measures_how_long_something_takes() -> None:
    """It would guess the machine's speed. Tests count what happens, wait for it, or set the time."""
    files = [file for file in sorted((ROOT / "tests").rglob("test_*.py")) if file != Path(__file__)]
    assert [str(file.relative_to(ROOT)) for file in files if STOPWATCHES.search(file.read_text())] == []


def test_clocks_and_chance_are_used_through_the_port_alone() -> None:
    members = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            if used := [f"line {line}: {what}" for line, what in direct_uses(parsed(file.read_text()))]:
                members[name] = used
    assert {name: used for name, used in members.items() if name not in EXCEPTIONS} == {}
    assert [name for name in EXCEPTIONS if name not in members] == [], "no longer an exception"


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "import time as t\nclock = t.monotonic",
        "from time import sleep as wait",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime as moment\nmoment.now()",
        "from datetime import date\ndate.today()",
        "import random",
        "from secrets import token_bytes",
        "from uuid import uuid4",
        "import uuid\nuuid.uuid1()",
        "import uuid_utils.compat",
        "import threading\nthreading.Timer(1, print)",
        "from cryptography.hazmat.primitives.ciphers.aead import AESGCM\nAESGCM.generate_key(256)",
    ],
)
def test_a_use_of_the_machine_s_clock_or_chance_is_noticed(code: str) -> None:
    assert list(direct_uses(parsed(code)))


def test_what_only_names_a_time_or_makes_no_id_by_chance_is_free() -> None:
    code = "from datetime import datetime\nimport uuid\ndatetime.fromtimestamp(0)\nuuid.uuid5(uuid.NAMESPACE_DNS, 'x')"
    assert not list(direct_uses(parsed(code)))


def test_a_replaced_clock_is_the_clock_of_the_whole_process() -> None:
    stepped = SteppedClock()
    with sources.replaced(clock=stepped):
        began, ms = sources.monotonic(), clock.SharedClock().time_ns()
        sources.block(90)
        assert sources.monotonic() - began == 90
        assert clock.SharedClock().time_ns() - ms == 90_000_000_000
        assert sources.machine_now().timestamp() == 1_000_000_090
    assert sources.monotonic() != stepped.monotonic_ns() / 1e9


def test_replaced_chance_draws_the_same_again() -> None:
    def drawn() -> list[object]:
        with sources.replaced(chance=SeededChance(18)):
            return [clock.new_id(), sources.uuid4(), sources.random_hex(6), sources.uniform(0.5, 1.0)]

    assert drawn() == drawn()


def test_numbers_fill_their_range_and_seeding_the_random_module_changes_nothing() -> None:
    random.seed(1)
    first = [sources.uniform(2, 4) for _ in range(1_000)]
    random.seed(1)
    second = [sources.uniform(2, 4) for _ in range(1_000)]
    assert first != second
    assert all(2 <= x <= 4 for x in first)
    assert min(first) < 2.1
    assert max(first) > 3.9


def direct_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of each use of a name of `DIRECT`, however it was imported."""
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [_dotted(node, imported)]
        else:
            continue
        for name in names:
            if any(_is(name, direct) for direct in DIRECT):
                yield node.lineno, name


def _dotted(node: ast.expr, imported: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, imported)}.{node.attr}"
    return imported.get(node.id, "") if isinstance(node, ast.Name) else ""


def _is(name: str, direct: str) -> bool:
    """``datetime.datetime.now`` is ``datetime.now``, and all of a module is the module."""
    if "." not in direct:
        return name == direct or name.startswith(direct + ".")
    return name == direct or (name.endswith("." + direct) and name.startswith(("datetime.", "cryptography.")))
