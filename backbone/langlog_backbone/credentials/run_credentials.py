"""Credentials that runs need of their callers: non-public members of the user that ``authenticate`` returned, and request headers.

Every reader of a thread can read its runs, webhooks carry them, and the log keeps them permanently. So these values never enter a
command: the gateway stores them here, sealed, before it appends the run's command, and the worker that executes the run opens them.
They are in Postgres, in the schema of the keys, which no rebuild, export or snapshot touches; the scheduler deletes them once the
run has ended.

They are sealed by AES-GCM under a key that is derived from the deployment's secret (`deployment_secret`); of several secrets the first
seals and all open.

Concurrency: belongs to the event loop that uses it. Death: credentials are on disk before the command is appended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..postgres.database import load_sql
from ..postgres.pool import Pool
from ..process.service import StartError
from ..process.settings import Settings
from ..time.sources import random_bytes
from .deployment_secret import deployment_secrets, derived_key

NONCE_BYTES = 12
KEPT_S = 3600.0
"""Credentials younger than this are never deleted: the read model may not know their run yet."""


class CredentialsGone(Exception):
    """The credentials that a run was created with cannot be opened: it cannot be executed as its caller."""

    for_clients = True


class Private(msgspec.Struct, frozen=True, omit_defaults=True):
    """Credentials of a run's caller that no reader of the run may see."""

    user: dict[str, Any] = {}
    """Members of the authenticated user that are not public."""
    headers: dict[str, str] = {}
    """Request headers that the project copies into the run's configurable."""

    def __bool__(self) -> bool:
        return bool(self.user or self.headers)


_decode = msgspec.json.Decoder(Private).decode


class RunCredentials:
    """Reads and writes raise what the pool raises while Postgres is unavailable."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", settings.keys_schema):
            raise StartError(f"LANGLOG_KEYS_SCHEMA must be a plain identifier, not {settings.keys_schema!r}")
        statements = load_sql("langlog_backbone", "run_credentials.sql")
        self._sql = {name: text.replace("{schema}", settings.keys_schema) for name, text in statements.items()}
        self._ciphers: list[AESGCM] = []

    async def keep(self, private: Mapping[str, Private]) -> None:
        """Store the credentials of runs (run id -> credentials); durable on return. Stored again under the same id, the
        newer ones count."""
        if not private:
            return
        cipher = (await self._opened())[0]
        sealed = []
        for run_id, one in private.items():
            nonce = random_bytes(NONCE_BYTES)
            sealed.append(nonce + cipher.encrypt(nonce, msgspec.json.encode(one), run_id.encode()))
        await self._pool.execute(self._sql["keep"], list(private), sealed)

    async def of(self, run_id: str) -> Private:
        """Return the credentials of a run. Raises CredentialsGone."""
        ciphers = await self._opened()
        sealed: bytes | None = await self._pool.fetchval(self._sql["of_run"], run_id)
        if sealed is None:
            raise CredentialsGone("The credentials of this run's caller are no longer kept: create the run again")
        for cipher in ciphers:
            try:
                return _decode(cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], run_id.encode()))
            except InvalidTag:
                continue
        raise CredentialsGone(
            "The credentials of this run's caller were sealed under another LANGLOG_SECRET: set both secrets, separated by a "
            "comma, until the runs that were created under the former one have ended"
        )

    async def forget(self) -> None:
        """Delete the credentials of runs that have ended."""
        if await self._pool.fetchval(self._sql["there"]):
            await self._pool.execute(self._sql["forget"], KEPT_S)

    async def _opened(self) -> list[AESGCM]:
        """Return the ciphers, the first of which seals. Creates missing tables and a missing secret."""
        if self._ciphers:
            return self._ciphers
        if not await self._pool.fetchval(self._sql["there"]):
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtext('langlog.run_credentials'))")
                await connection.execute(self._sql["schema"])
        secrets_known = await deployment_secrets(self._pool, self._settings)
        self._ciphers = [AESGCM(derived_key(secret, "run credentials")) for secret in secrets_known]
        return self._ciphers
