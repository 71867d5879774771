"""Outputs of runs that fail."""

from __future__ import annotations

from msgspec import Struct

from .members import encode


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


RUN_NOT_FOUND = failed_output("HTTPException", "404: Run not found")
