"""Errors of the log and of Redis, apart from their adapters: what retries calls knows the errors, and the adapters use what retries."""

from __future__ import annotations


class LogUnavailable(Exception):
    """The log cannot be reached; nothing was appended. Clients get 503."""


class AppendUnknown(LogUnavailable):
    """The append timed out: it may land later, or not. The caller's ids make a second try harmless."""


class RedisUnavailable(Exception):
    """The call did not get through, its answer was lost, or Redis refuses its work (`RedisRefused`)."""


class RedisRefused(RedisUnavailable):
    """Redis answers, but does not do its work at the moment: it is full, read-only, loading, cannot save.

    Nothing is wrong with the command, which changed nothing.
    """
