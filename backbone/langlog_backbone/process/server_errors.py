"""Errors of the log and of Redis, apart from their adapters: code that retries calls needs the errors, and the adapters use
what retries."""

from __future__ import annotations


class LogUnavailable(Exception):
    """The log cannot be reached; nothing was appended. Clients get 503."""


class LogSilent(LogUnavailable):
    """A server of the log accepts connections and does not answer: it stands still, or is starting."""


class AppendUnknown(LogUnavailable):
    """The append timed out: it may land later, or not. The caller's ids make a second try harmless."""


class RedisUnavailable(Exception):
    """The call did not arrive, its reply was lost, or Redis refuses to work (`RedisRefused`)."""


class RedisRefused(RedisUnavailable):
    """Redis responds, but refuses commands at the moment: it is full, read-only, loading, cannot save.

    Nothing is wrong with the command, which changed nothing.
    """
