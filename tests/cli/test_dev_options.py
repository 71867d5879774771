"""`langlog dev` takes the options of `langgraph dev`: with the same meaning, or with a line that they have no effect."""

from __future__ import annotations

import os
import ssl
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from langlog.main import cli

from tests.stack.server import LiveServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat" / "langgraph.json"
LIMIT_S = 60


def test_every_option_of_langgraph_dev_at_once_starts_a_server_behind_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1", "localhost")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    own.private_key_pem.write_to_path(str(key))
    for part in own.cert_chain_pems:
        part.write_to_path(str(certificate), append=True)
    options = [
        *("--no-browser", "--allow-blocking", "--tunnel", "--n-jobs-per-worker", "3", "--server-log-level", "info"),
        *("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key), "--studio-url", "https://studio.example/"),
    ]
    server = LiveServer(EXAMPLE, tmp_path / "server", None, *options)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with server.up():
        address = server.url.replace("http://", "https://")
        with urllib.request.urlopen(f"{address}/info", context=context, timeout=LIMIT_S) as answer:
            assert answer.status == 200
        said = server.tail()
    assert f"langlog listens on {address}\n" in said
    assert f"studio  https://studio.example/studio/?baseUrl={address}" in said
    assert "langlog: --tunnel has no effect" in said
    assert "--no-browser" not in said


def test_the_console_is_opened_in_the_browser_once_it_is_asked_for(tmp_path: Path) -> None:
    """By the program of the desktop that opens addresses."""
    opened, opener = tmp_path / "opened", tmp_path / "bin" / "xdg-open"
    os.mkfifo(opened)
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    opener.chmod(0o755)
    env = {"PATH": f"{opener.parent}:{os.environ['PATH']}"}
    server = LiveServer(EXAMPLE, tmp_path / "server", env, "--open")
    with ThreadPoolExecutor(1) as waiting, server.up():
        assert waiting.submit(opened.read_text).result(LIMIT_S) == f"{server.url}/console/"


def test_a_certificate_that_cannot_be_read_ends_the_start_in_one_line(tmp_path: Path) -> None:
    server = LiveServer(EXAMPLE, tmp_path, None, "--ssl-certfile", str(tmp_path / "none.pem"))
    with pytest.raises(RuntimeError, match=r"langlog: cannot read the TLS certificate and key in .*none\.pem"):
        server.start()


def test_a_debug_port_needs_one_worker() -> None:
    finished = CliRunner().invoke(cli, ["dev", "--config", str(EXAMPLE), "--debug-port", "5678", "--workers", "2"])
    assert finished.exit_code == 2
    assert "--debug-port needs --workers 1, not 2" in finished.output
