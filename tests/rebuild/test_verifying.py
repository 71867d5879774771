"""Verify reports every difference between the read model and its log, and a rebuild is not swapped in over one by itself."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.conftest import PROJECT
from tests.erasure.conftest import MASTER
from tests.rebuild.conftest import LIVE, Scene
from tests.stack.server import LiveServer


async def schemas(postgres: asyncpg.Connection) -> set[str]:
    rows = await postgres.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE $1", f"{LIVE}%")
    return {row["nspname"] for row in rows}


async def test_every_row_that_was_tampered_with_is_printed_and_only_an_operator_lets_the_log_win(
    scene: Scene, postgres_of: asyncpg.Connection
) -> None:
    changed, lost = scene.lived(), scene.lived()
    scene.verified()
    await postgres_of.execute(f"SET search_path TO {LIVE}")
    await postgres_of.execute("""UPDATE threads SET metadata = '{"n": 99}' WHERE thread_id = $1""", changed)
    await postgres_of.execute("UPDATE runs SET status = 'error', attempt = 7 WHERE thread_id = $1", changed)
    gone = await postgres_of.fetchval("DELETE FROM runs WHERE thread_id = $1 RETURNING run_id", lost)
    await postgres_of.execute("UPDATE checkpoints SET data = '\\x00' WHERE thread_id = $1", lost)
    before = await schemas(postgres_of)
    kept = await postgres_of.fetchval("SELECT count(*) FROM checkpoints WHERE thread_id = $1", lost)

    finished = scene.langlog("verify")
    assert finished.code == 1 and f"{kept + 3:,} rows differ." in finished.out
    lines = finished.out.splitlines()
    run = await postgres_of.fetchval("SELECT run_id FROM runs WHERE thread_id = $1", changed)
    at = lines.index(f'threads {{"thread_id":"{changed}"}} metadata')
    assert "99" in lines[at + 1] and lines[at + 1].startswith("    live    ")
    assert "99" not in lines[at + 2] and lines[at + 2].startswith("    rebuilt ")
    at = lines.index(f'runs {{"run_id":"{run}"}} status')
    assert lines[at + 1 : at + 3] == ['    live    "error"', '    rebuilt "success"']
    at = lines.index(f'runs {{"run_id":"{run}"}} attempt')
    assert lines[at + 1 : at + 3] == ["    live    7", "    rebuilt 1"]
    (at,) = (n for n, line in enumerate(lines) if line.startswith("runs ") and line.endswith(" *"))
    assert gone in lines[at] and lines[at + 1] == "    live    (none)" and lines[at + 2].startswith("    rebuilt {")
    assert sum(line.startswith("checkpoints ") and line.endswith(" data") for line in lines) == kept
    assert await schemas(postgres_of) == before, "verify leaves nothing"

    refused = scene.langlog("rebuild")
    assert refused.code == 1 and "Not swapped in" in refused.out and "rows differ." in refused.out
    assert scene.call("GET", f"/threads/{changed}")["metadata"]["n"] == 99
    accepted = scene.langlog("rebuild", "--accept-differences")
    assert accepted.code == 0 and "Swapped" in accepted.out, accepted
    assert "Folded 0 records." in accepted.out, "what was refused is gone on with"
    assert scene.call("GET", f"/threads/{changed}")["metadata"]["n"] == 2
    assert len(scene.call("GET", f"/threads/{lost}/runs")) == 1
    scene.verified()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A data folder with an encrypted log, of a server that was stopped."""
    env = {"LANGLOG_PROJECTION": LIVE, "LANGLOG_ENCRYPTION": "on", "LANGLOG_MASTER_KEY": MASTER}
    with LiveServer(PROJECT, tmp_path_factory.mktemp("encrypted"), env).up(verified=False) as server:
        result = Scene(server)
        result.lived()
        erased = result.lived()
        result.call("DELETE", f"/threads/{erased}")
        result.verified()  # beside it
    yield result


def test_an_encrypted_log_is_verified_and_rebuilt_where_no_server_runs(encrypted: Scene, tmp_path: Path) -> None:
    encrypted.verified()
    done = encrypted.langlog("rebuild")
    assert done.code == 0 and "No differences." in done.out and "Swapped" in done.out, done
    encrypted.verified()


def test_the_master_key_of_a_data_folder_is_replaced_and_the_old_one_opens_nothing_any_more(encrypted: Scene) -> None:
    other = base64.b64encode(bytes(range(32, 64))).decode()
    done = encrypted.langlog("keys", "rewrap", LANGLOG_MASTER_KEY=f"{other},{MASTER}")
    assert done.code == 0 and done.out.endswith("0 were wrapped by the first master key before.\n"), done
    try:
        assert encrypted.langlog("verify").code == 1
        verified = encrypted.langlog("verify", LANGLOG_MASTER_KEY=other)
        assert verified.code == 0 and "No differences." in verified.out, verified
    finally:
        back = encrypted.langlog("keys", "rewrap", LANGLOG_MASTER_KEY=f"{MASTER},{other}")
    assert back.out == done.out


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"LANGLOG_MASTER_KEY": ""}, "LANGLOG_MASTER_KEY is needed"),
        ({"LANGLOG_MASTER_KEY": MASTER[::-1].lstrip("=") + "="}, "LANGLOG_MASTER_KEY is not the one"),
        ({"LANGLOG_MASTER_KEY": "short"}, "LANGLOG_MASTER_KEY must be 32 bytes"),
        ({"LANGLOG_ENCRYPTION": "off"}, "the log holds encrypted records: set LANGLOG_ENCRYPTION"),
    ],
)
def test_without_the_key_it_is_said_what_is_missing_and_nothing_is_changed(
    encrypted: Scene, env: dict[str, str], words: str
) -> None:
    done = encrypted.langlog("rebuild", **env)
    assert done.code == 1, done
    assert words in done.err and "Traceback" not in done.err, done
    assert len(done.err.splitlines()) == 1, done


def test_after_that_it_is_as_it_was(encrypted: Scene) -> None:
    encrypted.verified()


def test_where_there_is_no_log_it_is_said(tmp_path: Path, encrypted: Scene) -> None:
    empty = Scene(LiveServer(PROJECT, tmp_path))
    done = empty.langlog("verify")
    assert done.code == 1 and "there is no log in" in done.err
