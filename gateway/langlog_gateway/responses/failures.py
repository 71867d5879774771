"""Outputs of runs that fail."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from .members import encode, raw


class RunFailure(Struct):
    """The error of a run."""

    error: str
    """Name of the exception's class"""
    message: str
    """Text of the exception"""


class FailedOutput(Struct, rename={"failure": "__error__"}):
    """Response of ``/wait`` and ``/join`` for a failed run (wire contract §5.2)."""

    failure: RunFailure
    """Error of the run"""


def failed_output(error: str, message: str) -> bytes:
    """Return the encoded `FailedOutput`."""
    return encode(FailedOutput(RunFailure(error, message)))


def stored_error(text: str | None) -> Raw:
    """Return the error of a run that is stored as this JSON; null for None. Its message is not stored where it is empty."""
    if text is not None and '"message"' not in text:
        error = msgspec.json.decode(text)
        if isinstance(error, dict):
            return Raw(msgspec.json.encode({"error": error.get("error", ""), "message": "", **error}))
    return raw(text)


RUN_NOT_FOUND = failed_output("HTTPException", "404: Run not found")
