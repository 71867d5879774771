"""Errors of the log and of Redis, apart from their adapters: code that retries calls needs the errors, and the adapters use
what retries."""

from __future__ import annotations

from redis.exceptions import ResponseError


class Explained(Exception):
    """An error whose text is for operators: it names the cause and the remedy, and quotes nothing that a client has sent."""


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


class RedisFailed(RedisUnavailable, ResponseError):
    """Redis responds with another error than those of `RedisRefused`.

    langlog's commands are the same whatever a client sends, so the cause is the server: another program's value under a key of
    langlog's, a command that was renamed or forbidden, a node of a cluster, a proxy in front of it.
    """


class RedisKeyForeign(RedisFailed, Explained):
    """A key of langlog's holds another program's value."""
