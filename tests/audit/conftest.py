"""The gateway's stack for the API; one server on each log for what needs graphs and the command line."""

from __future__ import annotations

from tests.gateway.conftest import make_stack, stack

__all__ = ["make_stack", "stack"]
