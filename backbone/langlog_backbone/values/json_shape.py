"""Features of valid JSON that not every reader accepts: deep nesting, numbers beyond a float, the NUL character. Pure.

Decoders and encoders recurse, each call from another depth of the stack: what one of them still accepts, the next one
refuses. Decoders skip numbers in `msgspec.Raw` members unchecked. So all JSON is checked where it
comes
in, in linear and little time: clients may send anything.
"""

from __future__ import annotations

import re
from itertools import accumulate

JSON_DEPTH_MAX = 200
"""Maximum nesting of arrays and objects. Python's own recursion limit ends decoders at about 900."""
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""A NUL in a string; an even number of backslashes may precede it."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = b"0" * 308
_AS_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
"""Translation of an opening bracket to 1, a closing one to -1."""


def too_deep(text: bytes, limit: int = JSON_DEPTH_MAX) -> bool:
    """Return whether JSON is nested deeper than ``limit``; undefined for invalid JSON. Takes linear time."""
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
    """Return whether a string or a key contains a NUL character."""
    return b"\\u0000" in text and b"\\u0000" in text.replace(b"\\\\", b"")


def without_nul(text: bytes) -> bytes:
    """Return JSON without the NUL characters of its strings and keys."""
    return _NUL.sub(rb"\1", text) if b"\\u0000" in text else text


def may_exceed_float(text: bytes) -> bool:
    """Return whether there may be a number beyond a float, such as ``1e999``: the decoder knows for sure."""
    return _far(text) and _far(_outside_strings(text))


def _far(text: bytes) -> bool:
    digits = text.translate(_DIGITS_AS_ZERO)
    return b"e000" in digits or b"e+000" in digits or _LONG in digits


def _outside_strings(text: bytes) -> bytes:
    """Return the text without its strings."""
    if b"\\" in text:  # no quotation mark within a string is left
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(text.split(b'"')[::2]) if b'"' in text else text
