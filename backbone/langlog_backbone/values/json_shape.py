"""What valid JSON has in it that not every reader takes: deep nesting, numbers beyond a float, the NUL character. Pure.

Decoders and encoders recurse, each call of them from another depth of the stack: what one of them still takes, the next one
refuses. Numbers in `msgspec.Raw` members are not tried by the decoder that passes over them. So all JSON is checked where it
comes
in, by means that take time in proportion to the text and little of it: clients send what they like.
"""

from __future__ import annotations

import re
from itertools import accumulate

JSON_DEPTH_MAX = 200
"""Arrays and objects within each other. Python's own recursion limit ends decoders at about 900."""
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""A NUL in a string, which an even number of backslashes may stand before."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = b"0" * 308
_AS_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
"""An opening bracket as 1, a closing one as -1."""


def too_deep(text: bytes, limit: int = JSON_DEPTH_MAX) -> bool:
    """Whether JSON is nested deeper than ``limit``. Of invalid JSON it says nothing. Takes time in proportion to the text."""
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    brackets = _outside_strings(text).translate(_ONE_KIND, _NOT_BRACKETS)
    depth = 0
    while brackets and depth <= limit:
        fewer = brackets.replace(b"[]", b"")  # one level, from within
        if len(fewer) * 2 > len(brackets):
            steps = memoryview(brackets.translate(_AS_STEPS)).cast("b")
            return depth + max(accumulate(steps)) > limit
        brackets, depth = fewer, depth + 1
    return depth > limit


def has_nul(text: bytes) -> bool:
    """Whether a string or a key has a NUL character in it."""
    return b"\\u0000" in text and b"\\u0000" in text.replace(b"\\\\", b"")


def without_nul(text: bytes) -> bytes:
    """JSON without the NUL characters of its strings and keys."""
    return _NUL.sub(rb"\1", text) if b"\\u0000" in text else text


def may_exceed_float(text: bytes) -> bool:
    """Whether there may be a number that no float holds, such as ``1e999``: the decoder knows for sure."""
    return _far(text) and _far(_outside_strings(text))


def _far(text: bytes) -> bool:
    digits = text.translate(_DIGITS_AS_ZERO)
    return b"e000" in digits or b"e+000" in digits or _LONG in digits


def _outside_strings(text: bytes) -> bytes:
    """The text without its strings."""
    if b"\\" in text:  # no quotation mark within a string is left
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(text.split(b'"')[::2]) if b'"' in text else text
