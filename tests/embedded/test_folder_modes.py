"""The data folder is closed to other users, whatever it was like before."""

from __future__ import annotations

import stat
from pathlib import Path

import structlog
from langlog_backbone.embedded.folder_modes import close_to_others
from langlog_backbone.embedded.servers import data_folder_lock


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_folder(tmp_path: Path) -> Path:
    """A folder as an earlier version, a copy or an administrator may have left it."""
    folder = tmp_path / "data"
    for part in (folder, folder / "postgres-18", folder / "log.sqlite.wake"):
        part.mkdir()
        part.chmod(0o755)
    for name in ("log.sqlite", "log.sqlite-wal", "lock", "redis.pid", "postgres.log"):
        (folder / name).write_text("x")
        (folder / name).chmod(0o664)
    return folder


def test_a_folder_that_others_may_read_is_closed_at_the_start(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    with data_folder_lock(folder), structlog.testing.capture_logs() as said:
        assert mode(folder) == 0o700
        members = {path.name: mode(path) for path in folder.iterdir()}
    assert members == {
        "postgres-18": 0o700,
        "log.sqlite.wake": 0o700,
        "log.sqlite": 0o600,
        "log.sqlite-wal": 0o600,
        "lock": 0o600,
        "redis.pid": 0o600,
        "postgres.log": 0o600,
    }
    assert said == []


def test_a_folder_with_other_things_in_it_keeps_its_mode_and_is_warned_of(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    (folder / "agent.py").write_text("graph = None")
    (folder / "agent.py").chmod(0o644)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x")
    elsewhere.chmod(0o644)
    (folder / "log.link").symlink_to(elsewhere)
    with structlog.testing.capture_logs() as said:
        close_to_others(folder)
    assert (mode(folder), mode(folder / "agent.py"), mode(elsewhere)) == (0o755, 0o644, 0o644)
    assert mode(folder / "log.sqlite") == 0o600
    assert [line["event"] for line in said] == ["embedded.folder_is_open"]
