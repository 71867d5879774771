"""Makes docs/explanation/proof/faults.json of what the tests of faults have measured: ``python -m tests.faults.page FILE``.

``FILE``: what `tests.faults.load` has written to where LANGLOG_TEST_FIGURES names a file; `make faults` does it all, and writes the page.
Of a fault that was measured more than once, the last figures count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.proof.__main__ import FIGURES, PAGE, page
from tests.proof.sections.faults import FILE


def gathered(lines: list[str], commit: str, date: str) -> dict[str, Any]:
    """The figures of a file: one entry for each fault, with those of each log."""
    faults: dict[str, dict[str, Any]] = {}
    for line in lines:
        figure = json.loads(line)
        name, log = figure.pop("fault"), figure.pop("log")
        faults.setdefault(name, {"fault": name})[log] = figure
    return {"date": date, "commit": commit, "faults": [faults[name] for name in sorted(faults)]}


def of_head(*how: str) -> str:
    return subprocess.run(["git", *how], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    measured = Path(sys.argv[1]).read_text().splitlines()
    figures = gathered(measured, of_head("rev-parse", "--short", "HEAD"), of_head("log", "-1", "--format=%cs"))
    (FIGURES / FILE).write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(page())
    print(f"{len(figures['faults'])} faults; see {PAGE}")
