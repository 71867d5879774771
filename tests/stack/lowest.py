"""The lowest release of each dependency that pyproject.toml allows, as constraints; all else as locked.

``python -m tests.stack.lowest FOLDER`` writes ``constraints.txt`` and ``tools.txt``, what the tests themselves need: `make
test-lowest` installs by them.
"""

from __future__ import annotations

import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.stack.uv import ROOT, uv

PAIRED = ("langgraph-prebuilt",)
"""Indirect dependencies that do not declare the langgraph they need: their lowest goes with the lowest langgraph."""
NEWER = ("deepagents", "langchain")
"""Tools that need a newer langgraph; only tests/integrations uses them."""


def _name(line: str) -> str:
    return canonicalize_name(Requirement(line).name)


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = [
    line
    for extra in ("dev", "docs", "otel")
    for line in PROJECT["optional-dependencies"][extra]
    if _name(line) not in ("langlog", *NEWER)
]


def lowest(tools: Sequence[str] = ()) -> list[str]:
    """Lines for ``pip --constraint``: installing langlog and the tools by them is possible."""
    low = {*map(_name, PROJECT["dependencies"]), *PAIRED}
    locked = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if _name(x) not in low]
    with tempfile.TemporaryDirectory() as folder:
        others, more, resolved = (Path(folder) / name for name in ("others.txt", "more.in", "lowest.txt"))
        others.write_text("\n".join(locked))
        more.write_text("\n".join([*PAIRED, *tools]))
        uv(
            *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--resolution", "lowest-direct"),
            *("--constraints", others, "--python", sys.executable, "--output-file", resolved, "pyproject.toml", more),
        )
        return [x for x in resolved.read_text().splitlines() if _name(x) in low] + locked


if __name__ == "__main__":
    out = Path(sys.argv[1])
    (out / "constraints.txt").write_text("\n".join(lowest(TOOLS)))
    (out / "tools.txt").write_text("\n".join(TOOLS))
