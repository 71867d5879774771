"""The secret of a deployment: it seals callers' credentials (`run_credentials`), and the ids of requests with an ``Idempotency-Key`` are
derived from it.

All services of a deployment share one secret, which must not change. It is set (``LANGLOG_SECRET``), or created once: in a file beside an
embedded log, which goes wherever the log goes, or else in Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path

import asyncpg
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..log.encryption.keys import PLAIN_NAME
from ..postgres.database import load_sql
from ..postgres.pool import Pool
from ..process.service import StartError
from ..process.settings import Settings
from ..time.sources import random_bytes, random_hex

SIZE = 32
"""Size of a generated secret, in bytes."""
SQLITE = "sqlite://"


CHARACTERS_MIN = 16
"""Minimum length of a configured secret, in characters: shorter ones can be guessed."""


async def deployment_secrets(pool: Pool, settings: Settings) -> list[bytes]:
    """The current secret, created on first use, followed by the secrets that it replaced. Raises StartError."""
    given = [part.strip() for part in settings.secret.split(",") if part.strip()]
    if any(len(part) < CHARACTERS_MIN for part in given):
        raise StartError(f"LANGLOG_SECRET must have at least {CHARACTERS_MIN} characters")
    if given:
        return [part.encode() for part in given]
    return [await _made(pool, settings)]


def derived_key(secret: bytes, purpose: str) -> bytes:
    """Return 32 bytes for one purpose, from which neither the secret nor the key of another purpose can be computed (RFC 5869)."""
    return HKDF(SHA256(), SIZE, None, f"langlog {purpose} v1".encode()).derive(secret)


async def _made(pool: Pool, settings: Settings) -> bytes:
    try:
        if settings.log_uri.startswith(SQLITE):
            path = Path(settings.log_uri.removeprefix(SQLITE) + ".secret")
            return await asyncio.to_thread(_from_file, path)
        return await _from_postgres(pool, settings)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StartError(
            f"the secret of this deployment can be neither read nor kept ({error}): set LANGLOG_SECRET"
        ) from None


def _from_file(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return _whole(path)
    keep_in_file(path, random_bytes(SIZE))
    return _whole(path)


def keep_in_file(path: Path, secret: bytes) -> None:
    """Write a secret to a file that only its owner reads; whole or not at all. An existing file stays. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{random_hex(3)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(draft, path)
    finally:
        draft.unlink()


def _whole(path: Path) -> bytes:
    secret = path.read_bytes()
    if len(secret) != SIZE:
        raise OSError(f"{path} does not hold {SIZE} bytes")
    return secret


async def _from_postgres(pool: Pool, settings: Settings) -> bytes:
    if not re.fullmatch(PLAIN_NAME, settings.keys_schema):
        raise StartError(f"LANGLOG_KEYS_SCHEMA must be a plain identifier, not {settings.keys_schema!r}")
    sql = {
        name: text.replace("{schema}", settings.keys_schema)
        for name, text in load_sql("langlog_backbone", "deployment_secret.sql").items()
    }
    there = await pool.fetchval("SELECT to_regclass($1)", f"{settings.keys_schema}.secrets") is not None
    secret = await pool.fetchval(sql["get"]) if there else None
    if secret is None:
        async with pool.acquire() as connection, connection.transaction():
            # the read model may lose its last commits and be folded again; this may not
            await connection.execute("SET LOCAL synchronous_commit = on")
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('langlog.deployment_secret'))")
            if not there:
                await connection.execute(sql["schema"])
            await connection.execute(sql["add"], random_bytes(SIZE))
            secret = await connection.fetchval(sql["get"])
    return bytes(secret)
