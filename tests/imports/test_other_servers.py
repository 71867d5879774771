"""Servers that show less than this API, in smaller pages, or fail in places: what they show is imported, the rest is reported.

Each is langlog itself behind a proxy that answers as such a server does.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.imports.conftest import answering, client, history, run_import
from tests.stack.server import LiveServer

pytestmark = pytest.mark.parametrize("log_kind", ["sqlite"])

STEPS, ITEMS, VERSIONS = 35, 40, 12
Quirk = Callable[[web.Request, Any], web.Response | None]
"""Changes the body of a request, or answers it."""
Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def made(source: LiveServer) -> dict[str, Any]:
    """Ids of objects at the source."""
    api = client(source)
    assistant = api.assistants.create("asking", context={"n": 1}, metadata={"made": True})["assistant_id"]
    for n in range(2, VERSIONS + 1):
        api.assistants.update(assistant, context={"n": n})
    long = api.threads.create(metadata={"graph_id": "asking"})["thread_id"]
    for n in range(STEPS):
        api.threads.update_state(long, {"draft": f"draft {n}"}, as_node="prepare")
    nested = api.threads.create()["thread_id"]
    api.runs.wait(nested, "nested", input={"trail": []})
    others = []
    for n in range(25):
        others.append(api.threads.create(metadata={"n": n})["thread_id"])
    for n in range(ITEMS):
        api.store.put_item(["users", f"u{n}"], "k", {"n": n})
    api.store.put_item(["rooms"], "k", {"n": 1})
    return {"assistant": assistant, "long": long, "nested": nested, "threads": [long, nested, *others]}


@contextlib.contextmanager
def like(source: LiveServer, quirk: Quirk, change: Change = lambda body: body) -> Iterator[str]:
    """The address of the source behind a proxy."""

    async def answer(request: web.Request) -> web.Response:
        body = json.loads(text) if (text := await request.read()) else None
        if (own := quirk(request, body)) is not None:
            return own
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, f"{source.url}{request.path_qs}", json=body) as answered,
        ):
            shown = await answered.json()
            return web.json_response(change(shown) if answered.ok else shown, status=answered.status)

    with answering(answer) as url:
        yield url


def refusing(status: int) -> web.Response:
    return web.json_response({"detail": "no"}, status=status)


def same(source: LiveServer, target: LiveServer, thread_id: str) -> None:
    assert client(target).threads.get(thread_id) == client(source).threads.get(thread_id)
    assert history(target, thread_id) == history(source, thread_id)


@pytest.mark.parametrize("most", [7, 50])
def test_smaller_pages_than_those_that_are_asked_for_lose_nothing(
    source: LiveServer, target: LiveServer, made: dict[str, Any], most: int
) -> None:
    def capped(_: web.Request, body: Any) -> None:
        if isinstance(body, dict) and "limit" in body:
            body["limit"] = min(body["limit"], most)

    with like(source, capped) as url:
        report = run_import(url, target)
        again = run_import(url, target)
    assert report["counts"]["threads"] == {"imported": len(made["threads"]), "unchanged": 0, "refused": 0}, report
    assert report["counts"]["items"]["imported"] == ITEMS + 1
    assert not report["issues"] and not report["remarks"]
    here = client(target)
    assert len(here.assistants.get_versions(made["assistant"], limit=100)) == VERSIONS
    assert len(history(target, made["long"])) == STEPS
    for thread_id in made["threads"][:2]:
        same(source, target, thread_id)
    assert not any(counts["imported"] for counts in again["counts"].values()), again


def test_a_server_without_some_endpoints_is_imported_as_far_as_it_goes(
    source: LiveServer, target: LiveServer, made: dict[str, Any]
) -> None:
    missing = {
        r"/assistants/[^/]+/versions": 404,
        "/threads/count": 404,
        "/store/namespaces": 405,
        "/runs/crons/search": 501,
    }
    asked: list[str] = []

    def bare(request: web.Request, body: Any) -> web.Response | None:
        asked.append(request.path)
        for path, status in missing.items():
            if re.fullmatch(path, request.path):
                return refusing(status)
        if request.method == "POST" and (body.keys() & {"sort_by", "select", "refresh_ttl"} or body["limit"] > 20):
            return refusing(422)
        return None

    def without_zones(body: Any) -> Any:
        return json.loads(re.sub(r"(\"\d{4}-\d\d-\d\dT[\d:.]+)(\+00:00|Z)\"", r'\1"', json.dumps(body)))

    with like(source, bare, without_zones) as url:
        report = run_import(url, target)
    assert asked.count("/runs/crons/search") == 1  # repeating it would not bring it about
    assert report["counts"]["threads"]["imported"] == len(made["threads"]), report
    assert report["counts"]["items"]["imported"] == ITEMS + 1
    assert {issue["kind"] for issue in report["issues"]} == {"assistants", "crons"}
    assert not any(issue["lost"] for issue in report["issues"])
    for thread_id in made["threads"][:2]:
        same(source, target, thread_id)
    here = client(target).assistants
    assert [one["context"] for one in here.get_versions(made["assistant"])] == [{"n": VERSIONS}]
    resumed = client(target).runs.wait(made["nested"], "nested", command={"resume": "leafy"})
    assert resumed["said"] == "leafy"


def test_what_fails_at_the_source_costs_nothing_else(
    source: LiveServer, target: LiveServer, made: dict[str, Any]
) -> None:
    def failing(request: web.Request, body: Any) -> web.Response | None:
        if request.path in (f"/assistants/{made['assistant']}/versions", "/runs/crons/search"):
            return refusing(403)
        if request.path == f"/threads/{made['long']}/history":
            return refusing(400)
        if request.path == "/store/items/search" and body["namespace_prefix"] == ["rooms"]:
            return refusing(403)
        return None

    with like(source, failing) as url:
        report = run_import(url, target, code=1)
        assert report["stopped"] is None
    lost = {(issue["kind"], issue["id"]) for issue in report["issues"] if issue["lost"]}
    assert lost == {
        ("assistants", made["assistant"]),
        ("threads", made["long"]),
        ("items", "(all)"),
        ("crons", "(all)"),
    }
    assert report["counts"]["threads"]["imported"] == len(made["threads"]) - 1
    assert report["counts"]["items"]["imported"] == ITEMS
    later = run_import(source, target)  # once it does not fail any more
    assert later["counts"]["threads"] == {"imported": 1, "unchanged": len(made["threads"]) - 1, "refused": 0}
    assert later["counts"]["items"]["imported"] == 1
    same(source, target, made["long"])


def test_checkpoints_of_a_graph_are_not_taken_for_those_of_its_subgraphs(
    source: LiveServer, target: LiveServer, made: dict[str, Any]
) -> None:
    def without_subgraphs(_: web.Request, body: Any) -> None:
        if isinstance(body, dict):
            body.pop("checkpoint", None)

    with like(source, without_subgraphs) as url:
        report = run_import(url, target, "--only", "threads")
    (issue,) = report["issues"]
    assert issue["id"] == made["nested"] and not issue["lost"] and "of its subgraphs" in issue["reason"]
    same(source, target, made["nested"])


def test_a_history_that_begins_before_no_checkpoint_is_read_at_once(
    source: LiveServer, target: LiveServer, made: dict[str, Any]
) -> None:
    """aegra takes an id there, and fails with it."""
    asked: list[int] = []

    def without_before(request: web.Request, body: Any) -> web.Response | None:
        if not request.path.endswith("/history"):
            return None
        if body.get("before"):
            return refusing(422)
        asked.append(body["limit"])
        body["limit"] = body["limit"] if body["limit"] > 100 else 20
        return None

    with like(source, without_before) as url:
        report = run_import(url, target, "--only", "threads")
    assert 1_000 in asked
    assert report["counts"]["threads"]["imported"] == len(made["threads"]) and not report["issues"], report
    for thread_id in made["threads"][:2]:
        same(source, target, thread_id)


def test_an_address_of_another_kind_of_server_stops_the_import(target: LiveServer) -> None:
    async def nothing(_: web.Request) -> web.Response:
        return refusing(404)

    with answering(nothing) as url:
        report = run_import(url, target, code=1)
    assert "refused POST /assistants/search (404: no)" in report["stopped"]
