"""A killed rebuild continues where it was, and the live schema is never touched before the swap."""

from __future__ import annotations

import subprocess
import sys

import asyncpg
import pytest

from tests.rebuild.conftest import LIVE, Scene
from tests.rebuild.stopping import BATCH_RECORDS, PLACES, REACHED

LOCK = f"langlog.operations.rebuild.{LIVE}_new"
"""Lock that a rebuild holds."""
CONTENT = "SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {} t"


async def schemas(postgres: asyncpg.Connection) -> dict[str, int]:
    rows = await postgres.fetch("SELECT nspname, oid FROM pg_namespace WHERE nspname LIKE $1", f"{LIVE}%")
    return {row["nspname"]: row["oid"] for row in rows}


async def content(postgres: asyncpg.Connection) -> dict[str, str]:
    """Return the content of each table of the live schema."""
    tables = await postgres.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", LIVE)
    return {table: await postgres.fetchval(CONTENT.format(f"{LIVE}.{table}")) for (table,) in tables}


async def killed(scene: Scene, postgres: asyncpg.Connection, place: str) -> int:
    """A rebuild, killed at that place; Postgres knows of it. Return the records of its first batch, if it was killed after it."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rebuild.stopping", place, *scene.command("rebuild")],
        env=scene.server.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
        rest = process.stdout.read()
    reached, _, folded = said.partition(" ")
    assert reached == REACHED, said + rest
    await postgres.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", LOCK)
    await postgres.execute("SELECT pg_advisory_unlock_all()")
    return int(folded)


@pytest.mark.parametrize("place", PLACES)
async def test_a_rebuild_that_is_killed_leaves_the_live_schema_alone_and_the_next_one_goes_on(
    scene: Scene, postgres_of: asyncpg.Connection, place: str
) -> None:
    before, rows = await schemas(postgres_of), await content(postgres_of)
    committed = await killed(scene, postgres_of, place)
    after = await schemas(postgres_of)
    assert after.pop(f"{LIVE}_new")
    assert after == before
    assert await content(postgres_of) == rows
    thread = scene.lived()  # nobody is held up by the one who is gone

    folded = await postgres_of.fetchval(f'SELECT sum("offset") FROM {LIVE}_new.positions')
    if "batch" in place:
        assert 0 < committed < 2 * BATCH_RECORDS and folded == committed
    else:
        assert folded > 2 * BATCH_RECORDS
    done = scene.langlog("rebuild")
    assert done.code == 0 and "No differences." in done.out and f"Swapped: {LIVE} is the new one." in done.out, done
    assert (await schemas(postgres_of))[LIVE] not in before.values()
    total = await postgres_of.fetchval(f'SELECT sum("offset") FROM {LIVE}.positions')
    assert f"Folded {total - folded:,} records." in done.out
    assert scene.call("GET", f"/threads/{thread}/state")["values"]["text"]
    scene.lived()


async def test_begun_anew_it_folds_everything(scene: Scene, postgres_of: asyncpg.Connection) -> None:
    await killed(scene, postgres_of, "between batches")
    done = scene.langlog("rebuild", "--fresh")
    total = await postgres_of.fetchval(f'SELECT sum("offset") FROM {LIVE}.positions')
    assert done.code == 0 and f"Folded {total:,} records." in done.out, done
    scene.verified()


async def test_two_at_a_time_are_one_too_many(scene: Scene, postgres_of: asyncpg.Connection) -> None:
    before = await schemas(postgres_of)
    await postgres_of.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", LOCK)
    try:
        done = scene.langlog("rebuild")
    finally:
        await postgres_of.execute("SELECT pg_advisory_unlock_all()")
    assert done.code == 1 and done.err.endswith(
        f"langlog: another process is building {LIVE}_new: wait until it is done\n"
    ), done
    assert await schemas(postgres_of) == before
