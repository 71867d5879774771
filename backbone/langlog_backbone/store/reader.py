"""Reading the store from Postgres, for gateways and for nodes alike: the same query has the same answer.

Concurrency: holds nothing; a search by meaning is up to three statements, and what is written between them may show twice or not at
all. An item that is past its time is not there for any of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langlog_schemas.rules.vectors import similarity, unpack

from ..postgres.database import Parameters, load_sql
from .conditions import pattern_filter, prefix_filter, value_filter

Row = Mapping[str, Any]
Fetch = Callable[..., Awaitable[list[Any]]]
"""``(sql, *parameters) -> rows``"""

DEPTH_MAX = 1_000
OFFSET_MAX = 2**62 - 1
SPARE = 20
"""Number of vectors that are examined beyond twice the page."""
SPARE_FILTERED = 200
"""The same with a filter. If fewer than a page of them match, the search scans all items that match the filter."""

_SQL = load_sql("langlog_backbone", "store.sql")


class StoreReader:
    """``most``: maximum number of rows of one response."""

    def __init__(self, fetch: Fetch, *, most: int) -> None:
        self._fetch = fetch
        self._most = most

    async def get(self, namespace: Sequence[str], key: str) -> Row | None:
        rows = await self._fetch(_SQL["get"], list(namespace), key)
        return rows[0] if rows else None

    async def search(
        self,
        prefix: Sequence[str],
        wanted: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        vector: Sequence[float] | None = None,
    ) -> list[Row]:
        """Return items under a prefix, in order of creation; with a vector the nearest first, with a ``score``, and then
        those without vectors.

        Raises BadFilter.
        """
        limit, offset = self._page(limit, offset)
        if vector is None:
            return await self._rows("listing", prefix, wanted, limit, offset)
        similar = await self._similar(prefix, wanted, limit, offset, vector)
        if len(similar) >= limit:
            return similar
        skipped = 0
        if not similar and offset:
            [(scored,)] = await self._rows("count_similar", prefix, wanted, 0, 0, vector)
            skipped = max(0, offset - scored)
        rest = await self._rows("without_vectors", prefix, wanted, limit - len(similar), skipped, vector)
        return [*similar, *rest]

    async def _similar(
        self,
        prefix: Sequence[str],
        wanted: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        vector: Sequence[float],
    ) -> list[Row]:
        # more vectors than items, since several may be of one item, and some items may not match or be past their time
        candidates = min((SPARE_FILTERED if wanted else SPARE) + (limit + offset) * 2, OFFSET_MAX)
        rows = await self._rows("similar", prefix, wanted, limit, offset, vector, candidates)
        if len(rows) < limit:  # the page may be filled from further away
            rows = await self._rows("similar_filtered" if wanted else "similar", prefix, wanted, limit, offset, vector)
        near = similarity(vector)
        return [_scored(row, near) for row in rows]

    async def namespaces(
        self, patterns: Sequence[tuple[str, Sequence[str]]], max_depth: int | None, limit: int, offset: int
    ) -> list[list[str]]:
        """Return namespaces, sorted. ``patterns``: ("prefix" or "suffix", labels), all of which match; cut to ``max_depth``
        and named once."""
        limit, offset = self._page(limit, offset)
        parameters = Parameters()
        conditions = [
            c for kind, labels in patterns for c in pattern_filter(labels, parameters, suffix=kind == "suffix")
        ]
        depth = "i.namespace"
        if max_depth is not None:
            depth += f"[1:{parameters.add(min(max(max_depth, 0), DEPTH_MAX), '::int')}]"
        sql = _SQL["namespaces"].format(
            depth=depth,
            filters=" AND ".join(conditions) or "TRUE",
            limit=parameters.add(limit, "::bigint"),
            offset=parameters.add(offset, "::bigint"),
        )
        return [row["namespace"] for row in await self._fetch(sql, *parameters.values)]

    def _page(self, limit: int, offset: int) -> tuple[int, int]:
        return max(0, min(limit, self._most)), max(0, min(offset, OFFSET_MAX))

    async def _rows(
        self,
        name: str,
        prefix: Sequence[str],
        wanted: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        vector: Sequence[float] = (),
        candidates: int | None = None,
    ) -> list[Any]:
        parameters, sql = Parameters(), _SQL[name]
        fragments = {"dims": str(len(vector))}
        if "{vector}" in sql:
            fragments["vector"] = parameters.add(vector)
        if "{place}" in sql:
            fragments["place"] = " AND ".join(prefix_filter(prefix, parameters, "s")) or "TRUE"
            fragments["matching"] = " AND ".join(value_filter(wanted or {}, parameters)) or "TRUE"
            fragments["candidates"] = "ALL" if candidates is None else parameters.add(candidates, "::bigint")
        if "{filters}" in sql:
            conditions = [*prefix_filter(prefix, parameters), *value_filter(wanted or {}, parameters)]
            fragments["filters"] = " AND ".join(conditions) or "TRUE"
        if "{limit}" in sql:
            fragments["limit"] = parameters.add(limit, "::bigint")
            fragments["offset"] = parameters.add(offset, "::bigint")
        return await self._fetch(sql.format(**fragments), *parameters.values)


def _scored(row: Row, near: Callable[[Sequence[float]], float]) -> Row:
    """Add the score: computed from the stored 64-bit numbers if there are any, else pgvector's, from 32-bit numbers."""
    return row if row["exact"] is None else {**row, "score": near(unpack(row["exact"], 64))}
