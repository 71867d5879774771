"""Requests of pages in a browser: CORS (wire contract §1.5), and the guard of a server without authentication."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError
from langlog_backbone.process.settings import Settings
from langlog_gateway.http.browser_guard import BrowserGuard, is_loopback
from langlog_gateway.http.cors import Cors
from langlog_gateway.http.options import CorsOptions
from multidict import CIMultiDict

from .conftest import MakeStack, Stack, make_thread

APP = Path(__file__).parent / "own_app" / "web.py"
EVIL = "https://evil.example"
LOCAL = ("http://localhost:3000", "http://127.0.0.1:5173", "https://[::1]:8443", "http://localhost")
STUDIO = ("https://smith.langchain.com", "https://eu.smith.langchain.com")


def project(folder: Path, *, auth: bool = False, **http: Any) -> Path:
    config: dict[str, Any] = {"graphs": {"echo": "./echo.py:graph"}, "http": http}
    if auth:
        config["auth"] = {"path": f"{APP}:auth"}
    file = folder / "langgraph.json"
    file.write_text(json.dumps(config))
    return file


def guard(cors: str = "", options: CorsOptions | None = None, **changes: Any) -> BrowserGuard:
    return BrowserGuard(Settings(**changes), Cors(cors, options, guarded=False), "machine")


def refused(guard: BrowserGuard, method: str = "POST", **headers: str) -> bool:
    given = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return guard.refusal(method, given) is not None


async def count(stack: Stack) -> int:
    return int(await stack.backbone.pool.fetchval("SELECT count(*) FROM threads"))


async def test_a_page_of_another_site_changes_and_reads_nothing(stack: Stack) -> None:
    thread = await make_thread(stack)
    before = await count(stack)
    body = b'{"assistant_id": "echo", "input": {}}'
    pages = (
        {"Origin": EVIL, "Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"},
        {"Origin": EVIL, "Content-Type": "application/json"},
        {"Origin": "null", "Content-Type": "text/plain"},
        {"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"},
        {"Referer": f"{EVIL}/page", "Content-Type": "text/plain"},
        {"Accept": "text/html,*/*", "Content-Type": "text/plain"},
        {"Origin": "https://smith.langchain.com.evil.example"},
        {"Origin": "http://localhost.evil.example"},
    )
    for headers in pages:
        for method, path in (
            ("POST", "/threads"),
            ("POST", "/runs/wait"),
            ("POST", "/runs/stream"),
            ("POST", "/mcp"),
            ("POST", "/a2a/echo"),
            ("POST", f"/threads/{thread}/commands"),
            ("DELETE", f"/threads/{thread}"),
        ):
            async with stack.http.request(method, stack.url + path, data=body, headers=headers) as answer:
                assert answer.status == 403, (headers, path)
                assert "access-control-allow-origin" not in answer.headers
                assert isinstance((await answer.json())["detail"], str)
    assert (await stack.call("GET", f"/threads/{thread}", headers={"Origin": EVIL}))[0] == 403
    assert await count(stack) == before


async def test_what_a_page_of_another_site_embeds_is_refused_and_a_link_is_followed(stack: Stack) -> None:
    embedded = (
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    )
    path = "/threads/x/runs/x/stream?cancel_on_disconnect=true"  # a GET that may change something
    for headers in embedded:
        for read in (path, "/docs", "/mcp"):
            assert (await stack.call("GET", read, headers={"Sec-Fetch-Site": "cross-site", **headers}))[0] == 403
        for site in ("same-origin", "same-site", "none"):
            assert (await stack.call("GET", "/docs", headers={"Sec-Fetch-Site": site, **headers}))[0] == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await stack.call("GET", "/docs", headers=link))[0] == 200


async def test_a_name_that_is_not_the_servers_is_refused_whoever_asks(stack: Stack) -> None:
    for host in ("rebound.evil.example", "rebound.evil.example:2024", "evil", "10.0.0.1", "127.0.0.1.evil.example", ""):
        for method, path in (("POST", "/threads"), ("GET", "/threads/x"), ("OPTIONS", "/threads")):
            headers = {"Host": host, "Origin": f"http://{host}", "Access-Control-Request-Method": "POST"}
            async with stack.http.request(method, stack.url + path, headers=headers) as answer:
                assert answer.status == 403, (host, method)
        with pytest.raises(WSServerHandshakeError, match="403"):
            await stack.http.ws_connect(f"{stack.url}/threads/x/stream/events", headers={"Host": host})
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:2024", "[::1]:2024", "localhost.", "app.localhost"):
        assert (await stack.call("POST", "/threads", {}, headers={"Host": host}))[0] == 200, host
    assert (await stack.call("GET", "/ok", headers={"Host": "10.9.8.7", "Origin": EVIL}))[0] == 200, "probes"


async def test_programs_are_not_affected(stack: Stack) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        assert (await stack.call("POST", "/threads", {}, headers=headers))[0] == 200
    assert (await stack.call("GET", "/info", headers={"Sec-Fetch-Site": "cross-site"}))[0] == 200, "a link to it"


async def test_pages_of_this_machine_and_the_hosted_studio_are_admitted(stack: Stack) -> None:
    for origin in (*LOCAL, *STUDIO):
        asked = {
            "Origin": origin,
            "Sec-Fetch-Site": "cross-site",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-a",
            "Access-Control-Request-Private-Network": "true",
        }
        async with stack.http.options(f"{stack.url}/threads", headers=asked) as answer:
            assert (answer.status, await answer.text()) == (200, "OK")
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-allow-headers"] == "x-a"
            assert answer.headers["access-control-allow-private-network"] == "true"
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        async with stack.http.post(f"{stack.url}/threads", data=b"{}", headers=headers) as answer:
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, origin)
            exposed = "x-pagination-total, x-pagination-next, x-pagination-after, content-location"
            assert answer.headers["access-control-expose-headers"] == exposed
        async with stack.http.ws_connect(f"{stack.url}/threads/x/stream/events", headers=headers):
            pass
    async with stack.http.options(
        f"{stack.url}/threads", headers={**asked, "Origin": EVIL, "Access-Control-Request-Method": "DELETE"}
    ) as answer:
        assert (answer.status, await answer.text()) == (400, "Disallowed CORS origin")
        assert "access-control-allow-private-network" not in answer.headers
    with pytest.raises(WSServerHandshakeError, match="403"):
        await stack.http.ws_connect(f"{stack.url}/threads/x/stream/events", headers={"Origin": EVIL})
    async with stack.http.get(f"{stack.url}/ok") as answer:
        assert answer.headers["vary"] == "Origin"


async def test_settings_name_other_origins(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(cors_allow_origins="*") as stack:
        for headers in ({"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await stack.call("POST", "/threads", {}, headers=headers))[0] == 200
        async with stack.http.get(f"{stack.url}/info", headers={"Origin": EVIL}) as answer:
            assert answer.headers["access-control-allow-origin"] == "*"
    async with make_stack(project=project(tmp_path, cors={"allow_origins": ["https://good.example"]})) as stack:
        for origin, status, allowed in (
            ("https://good.example", 200, "https://good.example"),
            (EVIL, 403, None),
            (STUDIO[0], 403, None),
            (LOCAL[0], 200, None),
            (stack.url, 200, None),
        ):
            async with stack.http.post(f"{stack.url}/threads", data=b"{}", headers={"Origin": origin}) as answer:
                assert (answer.status, answer.headers.get("access-control-allow-origin")) == (status, allowed), origin


async def test_with_authentication_any_origin_may_ask_by_default(make_stack: MakeStack, tmp_path: Path) -> None:
    async with make_stack(project=project(tmp_path, auth=True)) as stack:
        asked = {"Origin": EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
        async with stack.http.options(f"{stack.url}/threads", headers=asked) as answer:
            assert (answer.status, await answer.text()) == (200, "OK")
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["access-control-allow-headers"] == "x-a"
        alice = {"Origin": EVIL, "Host": "agents.example", "Authorization": "alice"}
        assert (await stack.call("POST", "/threads", {}, headers=alice))[0] == 200
        path = f"{stack.url}/threads/x/stream/events"
        async with stack.http.ws_connect(path, headers=alice):
            pass
        with pytest.raises(WSServerHandshakeError, match="403"):  # cookies are sent by any page
            await stack.http.ws_connect(path, headers={**alice, "Cookie": "session=1"})


async def test_with_authentication_configured_origins_shut_out_others(make_stack: MakeStack, tmp_path: Path) -> None:
    file = project(tmp_path, auth=True)
    async with make_stack(project=file, cors_allow_origins="https://good.example") as stack:
        asked = {
            "Origin": "https://bad.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Private-Network": "true",
        }
        async with stack.http.options(f"{stack.url}/threads", headers=asked) as answer:
            assert (answer.status, await answer.text()) == (400, "Disallowed CORS origin")
            assert "access-control-allow-private-network" not in answer.headers
        async with stack.http.get(f"{stack.url}/ok", headers={"Origin": "https://bad.example"}) as answer:
            assert answer.status == 200
            assert "access-control-allow-origin" not in answer.headers
        good = {**asked, "Origin": "https://good.example", "Host": "agents.internal:2024"}
        async with stack.http.options(f"{stack.url}/info", headers=good) as answer:
            assert answer.headers["access-control-allow-private-network"] == "true"


def test_names_of_a_server_that_other_machines_reach() -> None:
    everywhere = guard(host="0.0.0.0", base_url="https://agents.example.com/x", allowed_hosts="a.example, *.b.example")
    for host in ("10.0.0.1:2024", "[fd00::1]:2024", "gateway:2024", "agents.example.com", "A.example", "x.b.example"):
        assert not refused(everywhere, host=host), host
    for host in ("evil.example", "b.example", "xb.example", "10.0.0.1.evil.example", "user@a.example", "[::1", "a b"):
        assert refused(everywhere, host=host), host
    assert not refused(guard(host="0.0.0.0", allowed_hosts="*"), host="evil.example")
    assert not refused(guard(host="agents.internal"), host="agents.internal:2024")
    assert not refused(guard(), host="machine"), "the machine's own name"
    assert not refused(guard()), "HTTP/1.0 has no Host"
    both = CIMultiDict([("host", "localhost"), ("host", "evil.example")])
    assert guard().refusal("GET", both) is not None
    assert [is_loopback(name) for name in ("::1", "127.9.9.9", "::ffff:127.0.0.1", "10.0.0.1", "localhost.x")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_studio_of_ones_own_is_admitted() -> None:
    cors = Cors("", None, guarded=False, studio="https://studio.example:8443/some/path")
    own = BrowserGuard(Settings(), cors, "machine")
    assert not refused(own, host="localhost", origin="https://studio.example:8443")
    assert not refused(own, host="localhost", origin=STUDIO[0])
    assert refused(own, host="localhost", origin="https://studio.example")
    assert refused(guard(), host="localhost", origin="")


def test_a_page_of_the_server_itself_is_admitted() -> None:
    everywhere = guard(host="0.0.0.0", cors="https://a.example")
    assert not refused(everywhere, host="gateway:2024", origin="http://gateway:2024")
    assert refused(everywhere, host="gateway:2024", origin="http://gateway:2025")
    pattern = guard(options=CorsOptions(allow_origin_regex=r"https://.*\.a\.example"))
    assert not refused(pattern, host="localhost", origin="https://x.a.example")
    assert refused(pattern, host="localhost", origin="https://x.a.example.evil.example")


async def test_answers_do_not_name_the_servers_software(stack: Stack) -> None:
    for path in ("/ok", "/threads/x", "/nope"):
        async with stack.http.get(stack.url + path) as answer:
            assert "server" not in answer.headers
