"""Reference pages name everything that there is: metrics, errors, codes, operations."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from langlog.main import cli
from langlog_gateway.agents import json_rpc
from langlog_gateway.openapi.document import WORDS
from langlog_scheduler.webhook_body import signature, signing_key

from docs.site import cli_page, http_api
from tests.stack.syntax import parsed

from .blocks import DOCS, ROOT, blocks
from .test_pages import LIMIT_S, Server, server  # noqa: F401

REFERENCE = DOCS / "reference"
FIRST_CELL = re.compile(r"^\| (`[^|]*|\d+|-\d+) ", re.MULTILINE)
TOPS = ("executor", "gateway", "scheduler", "schemas", "projector", "backbone", "cli")
SOURCES = [path for top in TOPS[:4] for path in (ROOT / top).rglob("*.py")]


def first_cells(page: Path) -> set[str]:
    """Return the code in the first cells of a page's tables."""
    return {
        name for cell in FIRST_CELL.findall(page.read_text()) for name in (re.findall(r"`([^`]+)`", cell) or [cell])
    }


def texts_given(function: str, keyword: str) -> Iterator[str]:
    """Return texts that the sources pass to a function, as its first argument or by keyword."""
    for path in SOURCES:
        for node in ast.walk(parsed(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == function:
                for value in [*node.args[:1], *(x.value for x in node.keywords if x.arg == keyword)]:
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.value


def test_every_class_of_a_runs_error_is_explained() -> None:
    named = set(texts_given("RunError", "error"))
    assert len(named) > 5
    assert named <= first_cells(REFERENCE / "errors.md")


def test_every_code_of_the_streaming_protocol_is_explained() -> None:
    named = {code for code in texts_given("Refused", "code") if re.fullmatch("[a-z_]+", code)}
    assert {"no_such_run", "unknown_command"} <= named
    assert named <= first_cells(REFERENCE / "errors.md")


def test_every_status_and_code_of_json_rpc_is_explained() -> None:
    cells = first_cells(REFERENCE / "errors.md")
    assert {str(status) for status in WORDS if status >= 400} <= cells
    assert {str(value) for name, value in vars(json_rpc).items() if name.isupper() and isinstance(value, int)} <= cells


def test_every_event_and_start_error_of_the_page_exists() -> None:
    page = (REFERENCE / "errors.md").read_text()
    sources = "".join(p.read_text() for top in TOPS for p in (ROOT / top).rglob("*.py"))
    for title in ("A service that does not start", "Lines of the log"):
        section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
        for cell in FIRST_CELL.findall(section):
            for text in re.findall(r"`([^`]+)`", cell):
                assert text.partition(" (")[0] in sources, text


def test_every_metric_is_explained(server: Server) -> None:  # noqa: F811
    text = requests.get(f"{server.url}/metrics", timeout=LIMIT_S).text
    served = set(re.findall(r"^# HELP (\S+)", text, re.MULTILINE))
    assert served == {x for x in first_cells(REFERENCE / "metrics.md") if "_" in x and "." not in x}


def test_the_pages_of_the_api_are_those_of_the_document_that_a_server_serves(server: Server) -> None:  # noqa: F811
    served = requests.get(f"{server.url}/openapi.json", timeout=LIMIT_S).json()
    assert served["paths"] == http_api.document()["paths"]


GROUPS = ("langlog", "langlog log", "langlog dead", "langlog keys", "langlog webhooks")
"""Commands that hold others."""


def test_the_page_of_the_command_line_has_every_command() -> None:
    text = cli_page.page()
    for name, _ in cli_page.commands(cli, "langlog"):
        assert f"`{name}`" in text or name in GROUPS, name


def test_the_receiver_of_webhooks_takes_what_langlog_signs_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGLOG_WEBHOOK_SECRET", "a secret of sixteen")
    (receiver,) = (b for b in blocks(DOCS / "how-to" / "webhooks.md") if b.title == "receiver.py")
    namespace: dict[str, Any] = {"__name__": "receiver"}
    exec(receiver.text, namespace)
    moment, body = int(time.time()), b'{"run_id": "1"}'
    signed = signature(signing_key("a secret of sixteen"), "msg_1", moment, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(moment), "webhook-signature": signed}
    assert namespace["is_ours"](headers, body)
    assert not namespace["is_ours"](headers, body + b" ")
    assert not namespace["is_ours"]({**headers, "webhook-timestamp": str(moment - 1000)}, body)
