"""Python sources as syntax trees."""

from __future__ import annotations

import ast
import gc


def parsed(source: str) -> ast.Module:
    """The tree of a module. Raises SyntaxError.

    Without the collector: where it runs code meanwhile that parses too, CPython 3.11 fails with "AST constructor recursion depth
    mismatch" (python/cpython issue 106905).
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collecting:
            gc.enable()
