"""Errors of the log, apart from it: what knows all errors of servers must not need the log's adapters, which need it."""

from __future__ import annotations


class LogUnavailable(Exception):
    """The log cannot be reached; nothing was appended. Clients get 503."""


class AppendUnknown(LogUnavailable):
    """The append timed out: it may land later, or not. The caller's ids make a second try harmless."""
