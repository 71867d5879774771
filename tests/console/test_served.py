"""How the files are served: headers, encodings, addresses, switches."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.stack.server import LiveServer


@pytest.fixture(scope="module")
def page(server: LiveServer) -> httpx.Response:
    return httpx.get(f"{server.url}/console/")


def test_the_page_names_files_that_may_be_kept_for_ever(server: LiveServer, page: httpx.Response) -> None:
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-cache"
    assert '<base href="/console/">' in page.text
    names = re.findall(r'(?:src|href)="([\w-]+\.(?:js|css|svg))"', page.text)
    assert len(names) >= 4
    for name in names:
        answer = httpx.get(f"{server.url}/console/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        again = httpx.get(answer.url, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("identity", None)]
)
def test_files_come_in_the_best_encoding_that_the_client_takes(
    server: LiveServer, page: httpx.Response, accepted: str, encoding: str | None
) -> None:
    name = re.findall(r'src="(main-[\w-]+\.js)"', page.text)[0]
    with httpx.stream("GET", f"{server.url}/console/{name}", headers={"accept-encoding": accepted}) as answer:
        assert answer.headers.get("content-encoding") == encoding
        assert "Accept-Encoding" in answer.headers["vary"]
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_every_answer_keeps_other_sites_and_foreign_scripts_out(server: LiveServer, page: httpx.Response) -> None:
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"


def test_any_address_of_a_view_is_the_page_and_a_missing_file_is_none(server: LiveServer, page: httpx.Response) -> None:
    assert httpx.get(f"{server.url}/console/threads/x/runs/y?z=1").text == page.text
    assert httpx.get(f"{server.url}/console").headers["location"] == "/console/"
    missing = httpx.get(f"{server.url}/console/main-00000000.js")
    assert missing.status_code == 404
    assert "reload its page" in missing.json()["detail"]
    for path in ("..%2f..%2fpyproject.toml", "%2e%2e/files.py", "index.html.br", "built-from", "manifest.json"):
        assert httpx.get(f"{server.url}/console/{path}").text == page.text


def test_browsers_are_led_from_the_root_to_the_console_and_programs_are_not(server: LiveServer) -> None:
    answer = httpx.get(server.url, headers={"accept": "text/html,application/xhtml+xml"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/console/")
    assert httpx.get(server.url).json() == {"ok": True, "services": {}}


def test_the_pages_call_the_public_api_and_nothing_else(server: LiveServer) -> None:
    """Every path in the sources is one of the OpenAPI document: the console has no private API."""
    document = httpx.get(f"{server.url}/openapi.json").json()
    public = {re.sub(r"\{[^}]+\}", "{}", path) for path in document["paths"]}
    called = set()
    for file in (Path(__file__).parents[2] / "console" / "src").rglob("*.ts*"):
        if ".test." in file.name:
            continue
        text = file.read_text()
        called |= {re.sub(r"\$\{[^}]+\}", "{}", path) for path in re.findall(r"\bat`([^`]+)`", text)}
        called |= set(re.findall(r"""(?:call|callWithHeaders|follow|send)(?:<[^()]*>)?\(\s*"(/[^"]*)\"""", text))
    assert len(called) > 10
    assert called - public == set()
