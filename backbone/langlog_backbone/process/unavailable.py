"""Errors that mean that a server is unavailable (Postgres, Redis or the log), as opposed to langlog's own defects and bad data.

`UNAVAILABLE_ERRORS` is for ``except``. `is_unavailable` is more precise: it also knows errors whose class is ambiguous
(a storage failure that Postgres reports as an internal error), and leaves out values that asyncpg could not encode. `may_pass` adds what
only a loop of a service repeats: statements that do not fit the tables as they are.
"""

from __future__ import annotations

from typing import Literal

import asyncpg
import redis.exceptions

from .server_errors import LogUnavailable, RedisUnavailable

Dependency = Literal["postgres", "redis", "log"]

_POSTGRES_ERRORS = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the connection ended in the middle of a message
    asyncpg.PostgresConnectionError,  # 08
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a replica, or set to be read-only
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03
    asyncpg.TransactionTimeoutError,  # 25P04: a limit that its operator has set
    asyncpg.InvalidCachedStatementError,  # 0A000: a column changed its type; asyncpg prepares the statement anew
    asyncpg.InvalidAuthorizationSpecificationError,  # 28: a password that is being changed
    asyncpg.InvalidCatalogNameError,  # 3D: the database is not there (yet)
    asyncpg.InvalidSchemaNameError,  # 3F
    asyncpg.TransactionRollbackError,  # 40: serialization failure, deadlock
    asyncpg.InsufficientPrivilegeError,  # 42501: also reported when a file system became read-only
    asyncpg.UndefinedTableError,  # 42P01: the read model is being replaced or restored
    asyncpg.InsufficientResourcesError,  # 53: disk full, out of memory, too many connections
    asyncpg.ObjectNotInPrerequisiteStateError,  # 55: a lock that is not available
    asyncpg.OperatorInterventionError,  # 57: shutdown, crash, starting up, statement cancelled
    asyncpg.PostgresSystemError,  # 58: I/O errors
    asyncpg.InvalidSQLStatementNameError,  # 26: a pooler has put another session behind this connection
    asyncpg.DuplicatePreparedStatementError,  # 42P05: the same
    asyncpg.InternalServerError,  # XX: a broken index or page, two that changed the catalog at once, a proxy's own trouble
    asyncpg.UnknownPostgresError,  # states of newer servers, and of proxies in front of them
)

UNAVAILABLE_ERRORS = (
    OSError,
    TimeoutError,
    LogUnavailable,
    RedisUnavailable,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ResponseError,
    *_POSTGRES_ERRORS,
)
"""A server cannot be reached, stops, or refuses its work for a reason of its own: the same call may succeed later."""

OWN_FAULT = ("0A", "22", "23", "54", "XX")
"""Classes of SQLSTATE that are caused by the data: its form, its size, a constraint that it is against. XX only if `_TOO_LARGE`."""

_TOO_LARGE = "mcxt.c"
"""File of Postgres' own source that refuses values for which it would have to allocate more than a gigabyte, as an internal error."""
_ENDS_SESSION = ("FATAL", "PANIC")
"""Severities of errors that end the session, or refuse it: no data is at fault, whatever their SQLSTATE."""


def is_unavailable(error: BaseException) -> bool:
    """Return whether the same call may succeed once a server has recovered."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return True  # read anew for each connection: a certificate's file that is being replaced
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return False  # asyncpg could not encode an argument
    if isinstance(error, asyncpg.PostgresError) and error.severity in _ENDS_SESSION:
        return True
    if isinstance(error, asyncpg.InternalServerError):
        return getattr(error, "server_source_filename", None) != _TOO_LARGE
    if isinstance(error, UNAVAILABLE_ERRORS):
        return True
    # uvloop, when asyncpg writes to a connection that has just been closed
    return isinstance(error, RuntimeError) and "the handler is closed" in str(error)


def may_pass(error: BaseException) -> bool:
    """Return whether a loop that cannot continue without its call repeats it: for all errors of servers but those of the data.

    A column that is missing, because an operator is changing the tables, ends no service. A client's request gets 500 for it.
    """
    return is_unavailable(error) or (isinstance(error, asyncpg.PostgresError) and not own_fault(error))


def is_internal(error: BaseException) -> bool:
    """Return whether Postgres failed at one statement by an internal error (XX). It is the server's, but may be met by the rows of one
    key alone: those on a broken page."""
    return isinstance(error, asyncpg.InternalServerError) and error.severity not in _ENDS_SESSION


def own_fault(error: BaseException) -> bool:
    """Return whether Postgres (or its client, which checks values) refused the data of a statement.

    A failure of the server is never the data's fault: a full or broken disk refuses valid data.
    """
    if is_unavailable(error):
        return False
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in OWN_FAULT


def dependency_of(error: BaseException, default: Dependency = "postgres") -> Dependency:
    """Return the server that an error comes from. ``default``: for errors of sockets and time limits, which do not name one."""
    if isinstance(error, LogUnavailable):
        return "log"
    if isinstance(error, RedisUnavailable | redis.exceptions.RedisError):
        return "redis"
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return "postgres"
    return default
