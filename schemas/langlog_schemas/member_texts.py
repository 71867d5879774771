"""The strings under the members of a class in its source: the descriptions of a document's fields. Pure.

Python keeps no docstring of a member, so the source is read, once for each module.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache


def member_texts(cls: type) -> dict[str, str]:
    """Member -> the string under it, on one line; inherited members too."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ in sys.modules:
            texts |= _of_module(base.__module__).get(base.__qualname__, {})
    return texts


@cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
    """Class -> member -> text. Empty for a module without source."""
    try:
        source = inspect.getsource(sys.modules[name])
    except (OSError, TypeError):
        return {}
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return {node.name: _of_class(node) for node in classes}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
