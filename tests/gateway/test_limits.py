"""Limits of a server, and the errors beyond them (docs/reference/limits.md)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest
from langlog_backbone.time.clock import new_id
from langlog_executor.decider.decisions.sizes import metadata_refusal
from langlog_gateway.http.validation import FILTER_VALUES_MAX

from .conftest import Attempt, MakeStack, Stack


async def test_a_run_over_the_queue_limit_is_429_until_others_have_begun(make_stack: MakeStack) -> None:
    release = asyncio.Event()

    async def wait(attempt: Attempt) -> None:
        await attempt.started()
        await release.wait()
        await attempt.finish({})

    async with make_stack(max_queued_runs=3) as stack:
        stack.play = wait
        _, thread = await stack.call("POST", "/threads", {})
        path = f"/threads/{thread['thread_id']}/runs"
        answers = [await _create(stack, path) for _ in range(8)]
        accepted = [status for status, _ in answers if status == 200]
        assert 3 <= len(accepted) <= 4, "one may have begun when the fourth came"
        refused = [headers for status, headers in answers if status == 429]
        assert refused
        assert all(headers["retry-after"] == "1" for headers in refused)
        release.set()
        async with asyncio.timeout(60):
            while (await _create(stack, path))[0] == 429:
                await asyncio.sleep(0.05)  # as a client does that is told to try again


@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream", "/runs/batch"])
async def test_every_way_of_making_runs_is_limited(make_stack: MakeStack, path: str) -> None:
    async with make_stack(max_queued_runs=1) as stack:
        body: Any = {"assistant_id": "echo", "input": {}}
        later = {**body, "after_seconds": 60}
        assert (await stack.call("POST", "/runs", later))[0] == 200
        status, answer = await stack.call("POST", path, [body] if path.endswith("batch") else body)
        assert status == 429
        assert "limit 1" in answer["detail"]


async def test_a_batch_counts_as_many_runs_as_it_has(make_stack: MakeStack) -> None:
    async with make_stack(max_queued_runs=2) as stack:
        body = {"assistant_id": "echo", "input": {}, "after_seconds": 60}
        assert (await stack.call("POST", "/runs/batch", [body] * 3))[0] == 429
        assert await stack.backbone.pool.fetchval("SELECT count(*) FROM runs") == 0


async def test_runs_that_end_at_once_do_not_fill_the_queue(make_stack: MakeStack) -> None:
    async with make_stack(max_queued_runs=2) as stack:
        for _ in range(20):
            assert (await stack.call("POST", "/runs/wait", {"assistant_id": "echo", "input": {}}))[0] == 200


async def test_a_listing_gives_no_more_than_a_page(make_stack: MakeStack) -> None:
    async with make_stack(max_page=2) as stack:
        thread_id = new_id()
        for n in range(3):
            body = {"assistant_id": "echo", "input": {}, "if_not_exists": "create"}
            assert (await stack.call("POST", f"/threads/{thread_id}/runs/wait", body))[0] == 200
            item = {"namespace": ["a"], "key": str(n), "value": {}}
            assert (await stack.call("PUT", "/store/items", item))[0] == 204
        assert len((await stack.call("GET", f"/threads/{thread_id}/runs?limit=100"))[1]) == 2
        _, body_seen = await stack.call("POST", "/store/items/search", {"namespace_prefix": [], "limit": 100})
        assert len(body_seen["items"]) == 2


async def _create(stack: Stack, path: str) -> tuple[int, Mapping[str, str]]:
    body = {"assistant_id": "echo", "input": {}}
    async with stack.http.post(stack.url + path, json=body) as answer:
        return answer.status, answer.headers


async def test_a_cron_that_is_due_too_often_is_422(make_stack: MakeStack) -> None:
    async with make_stack(cron_min_interval_s=30) as stack:
        body: Any = {"assistant_id": "echo", "schedule": "* * * * * */29"}
        status, answer = await stack.call("POST", "/runs/crons", body)
        assert (status, "2 s apart" in answer["detail"]) == (422, True), "at the turn of a minute"
        body["schedule"] = "* * * * * */30"
        status, cron = await stack.call("POST", "/runs/crons", body)
        assert status == 200
        patched = await stack.call("PATCH", f"/runs/crons/{cron['cron_id']}", {"schedule": "* * * * * *"})
        assert patched[0] == 422
        assert (await stack.call("GET", f"/runs/crons/{cron['cron_id']}"))[1]["schedule"] == "* * * * * */30"


async def test_an_owner_has_so_many_crons_and_no_more(make_stack: MakeStack) -> None:
    async with make_stack(max_crons_per_owner=2) as stack:
        body = {"assistant_id": "echo", "schedule": "@daily"}
        made = [await stack.call("POST", "/runs/crons", body) for _ in range(3)]
        assert [status for status, _ in made] == [200, 200, 422]
        assert "LANGLOG_MAX_CRONS_PER_OWNER" in made[2][1]["detail"]
        assert (await stack.call("POST", "/runs/crons/count", {}))[1] == 2
        assert (await stack.call("DELETE", f"/runs/crons/{made[0][1]['cron_id']}"))[0] == 204
        assert (await stack.call("POST", "/runs/crons", body))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/threads", {}),
        ("PATCH", "/threads/{t}", {}),
        ("POST", "/threads/{t}/runs", {"assistant_id": "echo"}),
        ("POST", "/runs/wait", {"assistant_id": "echo"}),
        ("POST", "/runs/crons", {"assistant_id": "echo", "schedule": "0 0 1 1 *"}),
        ("POST", "/assistants", {"graph_id": "echo"}),
    ],
)
async def test_metadata_config_and_context_over_their_limits_are_422(
    stack: Stack, method: str, path: str, body: dict[str, Any]
) -> None:
    """Each change of an object writes its metadata again, and each run hands its config on."""
    _, thread = await stack.call("POST", "/threads", {})
    url = path.format(t=thread["thread_id"])
    for name, limit in (("metadata", 262_144), ("config", 1_000_000), ("context", 1_000_000)):
        if name != "metadata" and "threads" in path and "runs" not in path:
            continue
        value: Any = {"configurable": {"k": "x" * limit}} if name == "config" else {"k": "x" * limit}
        status, received = await stack.call(method, url, {**body, name: value})
        assert (status, received["detail"].split()[0]) == (422, name)


RUN = {"assistant_id": "echo", "input": {}}
TOO_MUCH: list[tuple[str, str, Any]] = [
    ("POST", "/threads/search", {"ids": [new_id()] * 10_001}),
    ("POST", "/threads/search", {"select": ["thread_id"] * 10_001}),
    ("POST", "/threads/search", {"extract": {"a": "values" + ".a" * 500}}),
    ("POST", "/assistants/search", {"select": ["name"] * 10_001}),
    ("POST", "/threads/prune", {"thread_ids": [new_id()] * 10_001}),
    ("POST", "/runs/cancel", {"run_ids": [new_id()] * 10_001}),
    ("POST", "/runs/batch", [RUN] * 10_001),
    ("POST", "/runs", {**RUN, "interrupt_before": ["n"] * 1_001}),
    ("POST", "/runs", {**RUN, "interrupt_after": ["n"] * 1_001}),
    ("POST", "/runs", {**RUN, "stream_mode": ["values"] * 1_001}),
    ("POST", "/runs", {**RUN, "feedback_keys": ["k"] * 1_001}),
    ("POST", "/threads/{thread}/runs", {**RUN, "checkpoint_id": "a" * 1_001}),
    ("POST", "/threads/{thread}/state", {"values": {}, "checkpoint_id": "a" * 1_001}),
    ("POST", "/threads/{thread}/state", {"values": {}, "checkpoint": {"checkpoint_ns": "a" * 1_001}}),
    ("POST", "/threads/{thread}/history", {"metadata": {"a": "a" * 300_000}}),
]


async def test_members_that_cost_time_for_each_entry_are_bounded(make_stack: MakeStack) -> None:
    async with make_stack() as stack:
        _, thread = await stack.call("POST", "/threads", {})
        for method, path, body in TOO_MUCH:
            status, answer = await stack.call(method, path.replace("{thread}", thread["thread_id"]), body)
            assert status == 422, (path, answer)
            assert len(answer["detail"]) <= 10_000


@pytest.mark.parametrize("what", ["threads", "runs", "assistants", "runs/crons", "interrupts"])
async def test_a_metadata_filter_of_too_many_values_is_422(make_stack: MakeStack, what: str) -> None:
    """Postgres searches its index for each of them, and would be busy for as long as it may take for one statement."""
    async with make_stack() as stack:
        for values, status in ((FILTER_VALUES_MAX, 200), (FILTER_VALUES_MAX + 1, 422)):
            for wanted in ({"a": list(range(values - 1))}, {f"k{n}": n for n in range(values)}):
                for way in ("count", "search"):
                    assert (await stack.call("POST", f"/{what}/{way}", {"metadata": wanted}))[0] == status


async def test_what_a_client_sent_is_not_sent_back_in_full(make_stack: MakeStack) -> None:
    async with make_stack() as stack:
        status, answer = await stack.call("POST", "/runs", {"assistant_id": "a" * 1_000_000, "input": {}})
        assert status == 422
        assert len(answer["detail"]) <= 10_000


@pytest.mark.parametrize("kind", ["threads", "assistants", "runs/crons"])
async def test_metadata_that_grows_with_each_patch_is_422_over_the_limit_and_changes_nothing(
    make_stack_on_both: MakeStack, kind: str
) -> None:
    made: Any = {
        "threads": {},
        "assistants": {"graph_id": "echo"},
        "runs/crons": {"assistant_id": "echo", "schedule": "0 0 1 1 *"},
    }[kind]
    async with make_stack_on_both(max_metadata_bytes=1_000) as stack:
        _, body = await stack.call("POST", f"/{kind}", made)
        url = f"/{kind}/{body['thread_id' if kind == 'threads' else kind.split('/')[-1][:-1] + '_id']}"
        before = (await stack.call("PATCH", url, {"metadata": {"a": "x" * 600}}))[1]
        status, received = await stack.call("PATCH", url, {"metadata": {"b": "x" * 600}})
        assert status == 422
        assert re.match("metadata (would have|has) 12.* more than 1000", received["detail"])
        if kind != "runs/crons":
            assert (await stack.call("GET", url, None))[1] == before
        # it may be replaced, and what is left fits
        status, after = await stack.call("PATCH", url, {"metadata": {"a": "y", "b": "x" * 600}})
        assert status == 200
        assert (after["metadata"]["a"], len(after["metadata"]["b"])) == ("y", 600)


def test_metadata_over_the_limit_from_before_may_be_changed_as_long_as_it_does_not_grow() -> None:
    large = {"a": "x" * 100}
    assert metadata_refusal(large, large, 50) is None
    assert metadata_refusal(large, {"a": "x" * 90}, 50) is None
    assert metadata_refusal(large, {"a": "x" * 101}, 50) is not None
    assert metadata_refusal({}, {"a": "x" * 101}, None) is None
