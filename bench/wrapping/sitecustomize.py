"""Wraps modules of langlog as they are imported, in every Python process that starts with this folder on its path, and with
``LANGLOG_HOPS`` (`hop_counts`) or ``LANGLOG_TIMES`` (`hop_times`) set to the folder that figures are written into."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

VARIABLES = {"LANGLOG_HOPS": "hop_counts", "LANGLOG_TIMES": "hop_times"}
"""Variable -> the module beside this one whose ``wrapped(folder)`` returns what to do with a module once it is loaded, by its name."""


class _Finder(importlib.abc.MetaPathFinder):
    """Leaves finding to other finders, and wraps modules that they have loaded."""

    def __init__(self, wrapped: Mapping[str, Callable[[Any], None]]) -> None:
        self._wrapped = wrapped
        self._busy = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        wrap = self._wrapped.get(fullname)
        if wrap is None or getattr(self._busy, "finding", False):
            return None
        self._busy.finding = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._busy.finding = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                wrap(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


for variable, name in VARIABLES.items():
    if folder := os.environ.get(variable):
        sys.meta_path.insert(0, _Finder(importlib.import_module(name).wrapped(folder)))
