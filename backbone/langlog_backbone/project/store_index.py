"""``store.index`` of langgraph.json (wire contract §16): the texts of an item that are embedded, the embedding, and the
length of the vectors.

Distances are cosine distances. A changed index applies to later writes: items keep the vectors they were written with, and those of
another length are not compared.
"""

from __future__ import annotations

from typing import Annotated

import asyncpg
import msgspec
from msgspec import Meta

from ..postgres.database import load_sql
from ..process.service import StartError
from .config import Configuration

DIMS_MAX = 16_000
"""Maximum length of a vector in pgvector."""

_TYPE = load_sql("langlog_backbone", "store.sql")["vector_type"]


class StoreIndex(msgspec.Struct, frozen=True):
    """``embed`` is ``path.py:function``, ``module:function``, or ``provider:model`` (see `langlog_executor.store.embeddings`)."""

    embed: str
    dims: Annotated[int, Meta(ge=1, le=DIMS_MAX)]
    fields: list[str] | None = None

    @property
    def paths(self) -> list[str]:
        """Return the paths of the texts in a value; ``$`` is the whole value."""
        return self.fields or ["$"]


def store_index(configuration: Configuration) -> StoreIndex | None:
    """Return the store's index, or None if the project has none. Raises StartError for an invalid section."""
    section = configuration.section("store").get("index")
    if section is None:
        return None
    try:
        return msgspec.convert(section, StoreIndex)
    except msgspec.ValidationError as error:
        raise StartError(f"store.index: {error}") from None


async def check_pgvector(pool: asyncpg.Pool) -> None:
    """Raises StartError when the read model cannot compare vectors."""
    if await pool.fetchval(_TYPE) != "vector":
        raise StartError(
            "store.index needs pgvector in the Postgres of the read model: install it there, "
            "and run CREATE EXTENSION vector as a superuser"
        )
