"""Cut records are on the live model's disk: Postgres may lose commits, but none that the log no longer holds."""

from __future__ import annotations

import uuid

import pytest
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.postgres.database import connect_pool, ensure_read_model
from langlog_backbone.process.settings import Settings
from langlog_projector.rebuild.rebuild import RebuildError
from langlog_projector.rebuild.retention import _on_disk
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev


async def test_a_cut_waits_for_the_disk_and_is_refused_beyond_what_postgres_still_has(
    postgres: EmbeddedPostgres,
) -> None:
    settings = Settings(database_uri=postgres.uri, projection=f"t{uuid.uuid4().hex[:12]}")
    pool = await connect_pool(settings, size=1)
    try:
        await ensure_read_model(pool, settings)
        await pool.execute('INSERT INTO positions (topic, part, "offset") VALUES ($1, 0, 7)', ev.RUN_EVENTS)
        committed = await pool.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        await _on_disk(pool, settings, {(ev.RUN_EVENTS, 0): 7, (cmd.TOPIC, 0): 100})
        assert await pool.fetchval("SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn", committed)
        with pytest.raises(RebuildError, match=r"is at offset 7 of run-events/0, below the cut at 8"):
            await _on_disk(pool, settings, {(ev.RUN_EVENTS, 0): 8})
    finally:
        await pool.close()
