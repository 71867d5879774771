"""Texts of exceptions, as clients may see them: without the credentials of whatever could not be reached. Pure."""

from __future__ import annotations

import re

_IN_ADDRESS = re.compile(r"(\w+://)[^\s/?#'\"]*@")
_NAMED = re.compile(
    r"\b(pass(?:word|wd|phrase)?|pwd|secret|token|\w*api_?key|\w*_(?:password|secret|token))(\s*=\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;,'\"()]+)",
    re.IGNORECASE,
)


def hidden(text: str) -> str:
    """``scheme://user:password@host`` without user and password, ``password=…`` and its like without the value."""
    return _NAMED.sub(r"\1\2***", _IN_ADDRESS.sub(r"\1***@", text))
