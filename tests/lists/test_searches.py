"""Searches of threads and runs over the whole server: conditions, pages by cursor, a cron's runs, and no objects of others."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from langlog_gateway.http.page_cursor import Cursor
from langlog_schemas.commands import RunError
from langlog_schemas.ids import default_assistant_id

from tests.gateway.conftest import Attempt, MakeStack, Stack, echo, make_thread

PROJECT = Path(__file__).parents[1] / "auth" / "project" / "langgraph.json"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
CRON = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": {"n": 1}, "metadata": {"of": "cron"}}


@pytest.fixture
async def stack(make_stack_on_both: MakeStack) -> Any:
    async with make_stack_on_both() as made:
        yield made


async def post(stack: Stack, path: str, body: dict[str, Any], **headers: str) -> Any:
    status, found = await stack.call("POST", path, body, headers=headers)
    assert status == 200, found
    return found


async def pages(stack: Stack, path: str, body: dict[str, Any], id: str) -> list[list[str]]:
    """Ids, page by page, each begun at the cursor of the one before."""
    found: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        data = msgspec.json.encode({**body, **({"after": after} if after else {})})
        async with stack.http.post(stack.url + path, data=data) as answer:
            assert answer.status == 200, await answer.text()
            found.append([row[id] for row in await answer.json()])
            after = answer.headers.get("x-pagination-after")
    return found


async def run(stack: Stack, body: dict[str, Any], thread: str | None = None, **headers: str) -> dict[str, Any]:
    """A run that is over."""
    thread = thread or (await post(stack, "/threads", {}, **headers))["thread_id"]
    await post(stack, f"/threads/{thread}/runs/wait", {"assistant_id": "echo", **body}, **headers)
    _, runs = await stack.call("GET", f"/threads/{thread}/runs", headers=headers)
    return dict(runs[0])


async def test_pages_of_threads_follow_on_each_other_by_cursor(stack: Stack) -> None:
    made = [await make_thread(stack) for _ in range(5)]
    for sort_by in ("created_at", "updated_at", "state_updated_at", "thread_id"):
        for sort_order in ("asc", "desc"):
            expected = made if sort_order == "asc" else made[::-1]
            order = {"sort_by": sort_by, "sort_order": sort_order, "limit": 2}
            found = await pages(stack, "/threads/search", order, "thread_id")
            assert [len(page) for page in found] == [2, 2, 1]
            ids = [id for page in found for id in page]
            assert ids == (expected if sort_by != "thread_id" else sorted(made, reverse=sort_order == "desc"))
    selected = await pages(stack, "/threads/search", {"limit": 3, "select": ["thread_id"]}, "thread_id")
    assert [id for page in selected for id in page] == made[::-1]


async def test_threads_are_found_by_age_graph_assistant_and_the_beginning_of_their_id(stack: Stack) -> None:
    first = await make_thread(stack)
    second = (await run(stack, {"input": {}}))["thread_id"]
    _, row = await stack.call("GET", f"/threads/{second}")
    born = row["created_at"]
    for conditions, expected in (
        ({"created_before": born}, {first}),
        ({"created_after": born}, {second}),
        ({"updated_after": row["updated_at"]}, {second}),
        ({"updated_before": row["updated_at"]}, {first}),
        ({"graph_id": "echo"}, {second}),
        ({"graph_id": "slow"}, set()),
        ({"assistant_id": default_assistant_id("echo")}, {second}),
        ({"id_prefix": first[:-1]}, {first} | ({second} if second.startswith(first[:-1]) else set())),
        ({"id_prefix": second.upper()}, {second}),
        ({"id_prefix": "zzz"}, set()),
        ({"id_prefix": "%"}, set()),
        ({"graph_id": "echo", "metadata": {"graph_id": "slow"}}, {second}),
    ):
        found = {t["thread_id"] for t in await post(stack, "/threads/search", conditions)}
        assert found == expected, conditions
        assert await post(stack, "/threads/count", conditions) == len(expected), conditions


async def test_runs_of_all_threads_are_found_newest_first(stack: Stack) -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.finish(outcome="error", error=RunError("ValueError", "no"), state_known=False)

    first = await run(stack, {"input": {"n": 1}, "metadata": {"a": 1}})
    second = await run(stack, {"input": {"n": 2}, "assistant_id": "slow"})
    stack.play = fail
    third = await run(stack, {"input": {"n": 3}}, first["thread_id"])
    everything = await post(stack, "/runs/search", {})
    assert everything == [third, second, first]
    for conditions, expected in (
        ({"status": "error"}, [third]),
        ({"status": ["error", "timeout"]}, [third]),
        ({"status": ["success", "error"]}, [third, second, first]),
        ({"status": "pending"}, []),
        ({"status": []}, [third, second, first]),
        ({"thread_id": first["thread_id"]}, [third, first]),
        ({"thread_id": UNKNOWN}, []),
        ({"assistant_id": second["assistant_id"]}, [second]),
        ({"graph_id": "echo"}, [third, first]),
        ({"metadata": {"a": 1}}, [first]),
        ({"created_after": second["created_at"]}, [third, second]),
        ({"created_before": second["created_at"]}, [first]),
        ({"sort_order": "asc"}, [first, second, third]),
        ({"limit": 1, "offset": 1}, [second]),
        ({"cron_id": UNKNOWN}, []),
    ):
        assert await post(stack, "/runs/search", conditions) == expected, conditions
        if not conditions.keys() & {"sort_order", "limit"}:
            assert await post(stack, "/runs/count", conditions) == len(expected), conditions
    selected = await post(stack, "/runs/search", {"select": ["run_id", "status"]})
    assert selected[0] == {"run_id": third["run_id"], "status": "error"}
    for sort_order in ("asc", "desc"):
        found = await pages(stack, "/runs/search", {"limit": 2, "sort_order": sort_order}, "run_id")
        ids = [r["run_id"] for r in (third, second, first)]
        assert [id for page in found for id in page] == (ids[::-1] if sort_order == "asc" else ids)


async def test_the_next_times_of_a_cron_are_listed_until_its_end(stack: Stack) -> None:
    made = await post(stack, "/runs/crons", {**CRON, "schedule": "0 9 * * *", "timezone": "Europe/Zurich"})
    path = f"/runs/crons/{made['cron_id']}"
    status, times = await stack.call("GET", f"{path}/firings?limit=40")
    assert status == 200
    moments = [datetime.fromisoformat(time) for time in times]
    assert len(moments) == 40
    assert moments == sorted(set(moments))
    assert moments[0] == datetime.fromisoformat(made["next_run_date"])
    assert {moment.astimezone(ZoneInfo("Europe/Zurich")).hour for moment in moments} == {9}
    assert len((await stack.call("GET", f"{path}/firings"))[1]) == 10
    assert (await stack.call("PATCH", path, {"end_time": times[2]}))[0] == 200
    assert await stack.call("GET", f"{path}/firings") == (200, times[:3])
    assert (await stack.call("PATCH", path, {"enabled": False}))[0] == 200
    assert await stack.call("GET", f"{path}/firings") == (200, [])
    for limit in ("0", "101", "x", "9" * 400):
        assert (await stack.call("GET", f"{path}/firings?limit={limit}"))[0] == 422
    assert (await stack.call("GET", f"/runs/crons/{UNKNOWN}/firings"))[0] == 404


async def test_a_cron_is_run_at_once_and_its_runs_are_found(stack: Stack) -> None:
    for enabled in (True, False):
        cron = await post(stack, "/runs/crons", {**CRON, "enabled": enabled, "on_run_completed": "keep"})
        fired = await post(stack, f"/runs/crons/{cron['cron_id']}/fire", {})
        assert fired["kwargs"]["input"] == {"n": 1} and fired["metadata"]["of"] == "cron"
        status, joined = await stack.call("GET", f"/threads/{fired['thread_id']}/runs/{fired['run_id']}/join")
        assert (status, joined) == (200, {"n": 1})
        [found] = await post(stack, "/runs/search", {"cron_id": cron["cron_id"]})
        assert (found["run_id"], found["status"]) == (fired["run_id"], "success")
        _, after = await stack.call("GET", f"/runs/crons/{cron['cron_id']}")
        assert (after["next_run_date"], after["enabled"]) == (cron["next_run_date"], enabled)
    thread = await make_thread(stack)
    cron = await post(stack, f"/threads/{thread}/runs/crons", CRON)
    key = {"idempotency-key": "once"}
    fired = await post(stack, f"/runs/crons/{cron['cron_id']}/fire", {}, **key)
    assert fired["thread_id"] == thread
    again = await post(stack, f"/runs/crons/{cron['cron_id']}/fire", {}, **key)
    assert again["run_id"] == fired["run_id"]
    status, answer = await stack.call("POST", f"/runs/crons/{UNKNOWN}/fire")
    assert status == 404 and "detail" in answer


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *(("/threads/search", {"after": text}) for text in ("x", "%", "A" * 2000, "WyJhIl0", "\N{GRINNING FACE}")),
        ("/threads/search", {"after": "WyJ0aHJlYWRfaWQiLCJkZXNjIiwiYSJd"}),
        ("/threads/search", {"created_after": "yesterday"}),
        ("/threads/search", {"created_after": "2026-01-01T00:00:00"}),
        ("/threads/search", {"id_prefix": "a" * 37}),
        ("/threads/search", {"graph_id": 1}),
        ("/threads/count", {"updated_before": 7}),
        ("/runs/search", {"after": "WyJjcmVhdGVkX2F0IiwiYXNjIiwiYSJd"}),
        ("/runs/search", {"after": "WyJjcmVhdGVkX2F0IiwiZGVzYyIsImEiXQ"}),
        ("/runs/search", {"status": "failed"}),
        ("/runs/search", {"thread_id": "x"}),
        ("/runs/search", {"cron_id": "' OR true"}),
        ("/runs/search", {"limit": 1001}),
        ("/runs/search", {"select": ["secret"]}),
        ("/runs/count", {"metadata": []}),
        ("/runs/search", []),
    ],
)
async def test_bad_input_is_refused(make_stack: MakeStack, path: str, body: Any) -> None:
    async with make_stack() as stack:
        status, found = await stack.call("POST", path, body)
        assert status == 422 and "detail" in found, found


async def test_text_that_postgres_cannot_hold_finds_nothing_or_is_refused(make_stack: MakeStack) -> None:
    async with make_stack() as stack:
        for path, body in (
            ("/threads/search", {"id_prefix": "\x00"}),
            ("/threads/search", {"graph_id": "\x00"}),
            ("/runs/search", {"graph_id": "\x00"}),
            ("/runs/search", {"metadata": {"a": "\x00"}}),
            ("/interrupts/search", {"graph_id": "\x00"}),
            ("/interrupts/search", {"metadata": {"\x00": 1}}),
        ):
            status, found = await stack.call("POST", path, body)
            assert status in (200, 400, 422), (path, body, status, found)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        ("1969-12-31T23:59:59-14:00", "9999-12-30T00:00:00+14:00"),
    ],
)
async def test_times_at_the_ends_of_the_calendar_compare_as_all_others(stack: Stack, before: str, after: str) -> None:
    await run(stack, {"input": {"n": 1}})
    for path in ("/threads/count", "/runs/count"):
        assert await post(stack, path, {"created_after": before, "created_before": after}) == 1
        assert await post(stack, path, {"created_before": before}) == 0
        assert await post(stack, path, {"created_after": after}) == 0
    for moment, there in ((before, False), (after, True)):
        cursor = Cursor("created_at", "desc", UNKNOWN, datetime.fromisoformat(moment)).text()
        assert bool(await post(stack, "/runs/search", {"after": cursor})) is there


async def test_another_tenants_runs_are_neither_found_nor_counted(make_stack_on_both: MakeStack) -> None:
    async with make_stack_on_both(project=PROJECT, no_project=False) as stack:
        stack.play = echo
        own = await run(stack, {"input": {}}, authorization="alice")
        cron = await post(stack, "/runs/crons", {**CRON, "on_run_completed": "keep"}, authorization="alice")
        status, _ = await stack.call("POST", f"/runs/crons/{cron['cron_id']}/fire", headers={"authorization": "bob"})
        assert status == 404
        fired = await post(stack, f"/runs/crons/{cron['cron_id']}/fire", {}, authorization="alice")
        assert fired["metadata"]["owner"] == "alice"
        found = await post(stack, "/runs/search", {}, authorization="alice")
        assert [r["run_id"] for r in found] == [fired["run_id"], own["run_id"]]
        for conditions in (
            {},
            {"thread_id": own["thread_id"]},
            {"cron_id": cron["cron_id"]},
            {"metadata": {"owner": "alice"}},
        ):
            assert await post(stack, "/runs/search", conditions, authorization="bob") == []
            assert await post(stack, "/runs/count", conditions, authorization="bob") == 0
        for conditions in (
            {"graph_id": "echo"},
            {"id_prefix": own["thread_id"]},
            {"created_after": "2020-01-01T00:00:00Z"},
        ):
            assert await post(stack, "/threads/search", conditions, authorization="bob") == []
        assert (await stack.call("POST", "/runs/search", {}))[0] == 401
