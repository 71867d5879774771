"""Lone surrogates: code points that a Python str may hold and UTF-8 cannot, so that encoding such a text raises. Pure.

``os.fsdecode`` makes one of each byte that is not UTF-8, and half an emoji is one.
"""

from __future__ import annotations


def encodable(text: str) -> str:
    """Return the text with lone surrogates as backslash escapes (``\\udce9``), as `repr` writes them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
