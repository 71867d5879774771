"""Files that settings name: for any kind of file the start succeeds or fails at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from langlog_backbone.process.environment import read_settings
from langlog_backbone.process.setting_files import FILE_BYTES_MAX, SettingError

NAMES = ["LANGLOG_MASTER_KEY_FILE", "LANGLOG_TLS_CERT_FILE", "LANGLOG_KAFKA_CA_FILE"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_regular_file_stops_the_start_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        for path, kind in [(tmp_path / "fifo", "a FIFO"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")]:
            with pytest.raises(SettingError, match=f"{name}: {path} is {kind}: name a regular file"):
                read_settings({name: str(path)})
        with pytest.raises(SettingError, match=name if "MASTER" in name else "is a socket"):
            read_settings({name: str(tmp_path / "s")})


@pytest.mark.parametrize("name", NAMES)
def test_a_huge_file_is_refused_unread(name: str, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(10 * FILE_BYTES_MAX)  # sparse: it takes no room
    with pytest.raises(SettingError, match=r"huge has more than \d+ bytes"):
        read_settings({name: str(huge)})


def test_a_secret_is_read_through_a_link_without_its_line_break(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("hush\n")
    (tmp_path / "secret").symlink_to(tmp_path / "data")
    assert read_settings({"LANGLOG_MASTER_KEY_FILE": str(tmp_path / "secret")}).master_key == "hush"
