"""Builds of langlog's own code by Node (`node_build.py`): the console's pages, and the host of graphs in JavaScript."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def node_build() -> ModuleType:
    """`node_build.py`."""
    spec = importlib.util.spec_from_file_location("langlog_node_build", ROOT / "node_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
