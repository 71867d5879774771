"""A delivery that was given up is listed, counted and named, and is sent again when an operator says so; on both logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from langlog.main import cli
from langlog_backbone.log import started_log
from langlog_backbone.metrics.exposition import rendered
from langlog_backbone.operation.explain_run import explain, gather
from langlog_backbone.operation.figures import DeploymentFigures
from langlog_backbone.operation.webhooks import PAGE, shown_url, undelivered
from langlog_backbone.process.environment import VARIABLES
from langlog_backbone.time.clock import new_id
from langlog_projector.rebuild import swap
from langlog_schemas import commands as cmd

from tests.gateway.conftest import MakeStack, Stack, append, make_stack_on_both
from tests.stack.waiting import until

from .conftest import ALLOWED, MakeProject, Receiver, scheduler, settled
from .test_delivery import run_with_hook

__all__ = ["make_stack_on_both"]

CONNECTED = (
    "log_uri", "database_uri", "redis_uri", "data_dir", "topic_prefix", "projection", "redis_prefix", "partitions",
)  # fmt: skip


@pytest.fixture
async def both(make_stack_on_both: MakeStack, make_project: MakeProject) -> AsyncIterator[Stack]:
    """A stack on either log, with one scheduler that attempts a delivery twice."""
    settings = {"webhook_backoff_s": 0.05, "webhook_attempts": 2}
    async with make_stack_on_both(project=make_project(webhooks=ALLOWED), **settings) as stack:
        async with scheduler(stack.backbone):
            yield stack


async def langlog(stack: Stack, *args: str) -> Result:
    """Run the command on a thread of its own: it has its own event loop."""
    env = {VARIABLES[name][0]: str(getattr(stack.backbone.settings, name)) for name in CONNECTED}
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["webhooks", *args], env=env)
    logging.disable(logging.NOTSET)
    return result


async def given_up(stack: Stack, receiver: Receiver, path: str = "/hook") -> Any:
    """A run whose webhook was given up."""
    run = await run_with_hook(stack, receiver.url.replace("//", "//user:secret@") + f"{path}?token=secret")
    assert (await settled(stack, run))["state"] == "failed"
    return run


async def attempted(stack: Stack, run: Any, attempts: int) -> Any:
    """The delivery, once it had so many attempts."""

    async def look() -> Any:
        _, body = await stack.call("GET", f"/threads/{run['thread_id']}/runs/{run['run_id']}/webhooks")
        return body[0] if body and len(body[0]["attempts"]) >= attempts else None

    return await until(stack.backbone, look)


async def verified(stack: Stack) -> bool:
    settings = stack.backbone.settings
    async with started_log(settings) as log:
        report = await swap.verify(log, settings, lambda done, total: None)
    assert report.comparison is not None and report.comparison.same, report.comparison
    return True


async def test_it_is_listed_named_counted_and_sent_again(both: Stack, receiver: Receiver) -> None:
    receiver.answers(500, 503, 500, 200)
    run = await given_up(both, receiver)
    run_id = run["run_id"]

    (row,) = map(msgspec.json.decode, (await langlog(both, "list", "--json")).stdout.splitlines())
    assert (row["run_id"], row["thread_id"], row["status"]) == (run_id, run["thread_id"], "given up")
    assert (row["attempts"], row["error"], row["next_attempt_at"], row["kept"]) == (2, "answered 503", None, True)
    assert row["url"] == f"{receiver.url}/hook?…"
    table = (await langlog(both, "list")).stdout
    assert run_id in table and "answered 503" in table and "secret" not in table

    explained = await why(both, run_id)
    assert f"to {receiver.url}/hook?… was given up" in explained and "after 2 attempts: answered 503." in explained
    assert f"langlog webhooks retry {run_id}" in explained
    assert await figure(both) == 1
    _, health = await both.call("GET", "/operator/health")
    assert health["webhooks_given_up"] == 1
    assert [one["severity"] for one in health["findings"] if one["about"] == "webhooks"] == ["warning"]

    done = await langlog(both, "retry", run_id)
    assert (done.exit_code, done.stdout[:23]) == (0, "1 webhook is due again:"), done.output
    delivery = await attempted(both, run, 4)
    assert delivery["state"] == "delivered", "as many attempts as a new one"
    assert [a["status_code"] for a in delivery["attempts"]] == [500, 503, 500, 200]
    assert len({hook.body for hook in receiver.hooks}) == len({h.headers["webhook-id"] for h in receiver.hooks}) == 1
    row = await both.backbone.pool.fetchrow("SELECT kwargs, state_values FROM webhooks")
    assert tuple(row) == (None, None), "what was to be delivered goes with it"

    assert await figure(both) == 0
    assert "Its webhook" not in await why(both, run_id)
    assert (await langlog(both, "list")).stdout == "No webhook waits or was given up.\n"
    refused = await langlog(both, "retry", run_id)
    assert refused.exit_code == 1 and "its webhook was delivered at" in refused.output
    assert await verified(both)


async def test_operators_list_it_and_send_it_again_over_http(both: Stack, receiver: Receiver) -> None:
    receiver.answers(500, 503, 200)
    run = await given_up(both, receiver)
    status, (one,) = await both.call("GET", f"/operator/webhooks?state=given-up&thread_id={run['thread_id']}")
    assert (status, one["run_id"], one["status"], one["error"]) == (200, run["run_id"], "given up", "answered 503")
    assert "secret" not in one["url"]
    assert await both.call("GET", "/operator/webhooks?state=waiting") == (200, [])
    assert (await both.call("GET", "/operator/webhooks?state=lost"))[0] == 422
    assert (await both.call("POST", "/operator/webhooks/retry", {"run_ids": []}))[0] == 422

    unknown = new_id()
    status, answer = await both.call("POST", "/operator/webhooks/retry", {"run_ids": [run["run_id"], unknown]})
    assert (status, answer["sent"], [no["run_id"] for no in answer["refused"]]) == (200, 1, [unknown])
    assert (await attempted(both, run, 3))["state"] == "delivered"
    assert await both.call("GET", "/operator/webhooks") == (200, [])
    status, answer = await both.call("POST", "/operator/webhooks/retry", {"run_ids": [run["run_id"]]})
    assert (status, answer["sent"]) == (200, 0)
    assert "was delivered at" in answer["refused"][0]["reason"]


async def test_all_are_sent_again_the_first_given_up_first(both: Stack, receiver: Receiver) -> None:
    receiver.answers(*[500] * 6, 200)
    runs = [await given_up(both, receiver, f"/{n}") for n in range(3)]
    listed = (await langlog(both, "list", "--json", "--limit", "2")).stdout.splitlines()
    ids = [msgspec.json.decode(line)["run_id"] for line in listed if line.startswith("{")]
    assert ids == [run["run_id"] for run in runs[:0:-1]]
    assert "1 more is not shown" in (await langlog(both, "list", "--limit", "2")).output

    unsure = await langlog(both, "retry", "--all")
    assert unsure.exit_code == 2 and "--yes" in unsure.output and len(receiver.hooks) == 6
    assert (await langlog(both, "retry", "--all", "--yes")).stdout.startswith("3 webhooks are due again")
    for run in runs:
        assert (await attempted(both, run, 3))["state"] == "delivered"
    logs = [
        msgspec.json.decode(row["attempt_log"])
        for row in await both.backbone.pool.fetch("SELECT attempt_log FROM webhooks")
    ]
    assert [["sent_again" in entry for entry in log] for log in logs] == [[False, True, False]] * 3
    assert (await langlog(both, "retry", "--all", "--yes")).stdout.startswith("No webhook was given up")
    assert await verified(both)


async def test_one_that_fails_again_is_given_up_again(both: Stack, receiver: Receiver) -> None:
    receiver.answers(500)
    run = await given_up(both, receiver)
    for attempts in (4, 6):
        assert (await langlog(both, "retry", run["run_id"])).exit_code == 0
        assert (await attempted(both, run, attempts))["state"] == "failed"
    assert len(receiver.hooks) == 6
    assert await figure(both) == 1
    assert await verified(both)


async def test_a_request_that_is_repeated_or_late_sends_nothing(both: Stack, receiver: Receiver) -> None:
    receiver.answers(500, 500, 200)
    run = await given_up(both, receiver)
    again = cmd.SendWebhookAgain(thread_id=run["thread_id"], run_id=run["run_id"], attempts=2)
    for _ in range(3):
        await append(both.backbone, cmd.TOPIC, again.key, again.TYPE, cmd.encode(again), new_id())
    assert (await attempted(both, run, 3))["state"] == "delivered"
    await append(both.backbone, cmd.TOPIC, again.key, again.TYPE, cmd.encode(again), new_id())
    await both.call("PATCH", f"/threads/{run['thread_id']}", {"metadata": {}})
    assert len((await settled(both, run))["attempts"]) == len(receiver.hooks) == 3
    assert await verified(both)


async def test_one_of_a_deleted_thread_is_sent_again_and_named(both: Stack, receiver: Receiver) -> None:
    receiver.answers(500, 500, 200)
    run = await given_up(both, receiver)
    assert (await both.call("DELETE", f"/threads/{run['thread_id']}"))[0] == 204
    explained = await why(both, run["run_id"])
    assert explained.startswith("There is no run") and "Its webhook to" in explained
    assert (await langlog(both, "retry", run["run_id"])).exit_code == 0
    hooks = await receiver.got(3)
    assert hooks[2].json["values"] == {"text": "w"}


async def test_what_waits_for_its_next_attempt_is_listed_and_not_sent(
    make_stack: MakeStack, make_project: MakeProject, receiver: Receiver
) -> None:
    receiver.answers(500)
    project = make_project(webhooks=ALLOWED)
    async with make_stack(project=project, webhook_backoff_s=3600.0) as stack:
        async with scheduler(stack.backbone):
            run = await run_with_hook(stack, receiver.url)
            await attempted(stack, run, 1)
        (row,) = map(msgspec.json.decode, (await langlog(stack, "list", "--json")).stdout.splitlines())
        assert (row["status"], row["error"], row["given_up_at"]) == ("waiting", "answered 500", None)
        assert (await langlog(stack, "list", "--state", "given-up")).stdout == "No webhook is in that state.\n"
        assert (await langlog(stack, "list", "--thread", new_id())).stdout == "No webhook waits or was given up.\n"
        assert "has failed (1 attempt: answered 500) and is attempted from" in await why(stack, run["run_id"])
        done = await langlog(stack, "retry", run["run_id"], unknown := new_id())
        assert done.exit_code == 1 and "waits for its next attempt" in done.output
        assert f"run {unknown} is left out: it has no webhook" in done.output
        await stack.backbone.pool.execute(
            "UPDATE webhooks SET settled_at = now(), next_attempt_at = NULL, kwargs = NULL, state_values = NULL"
        )
        assert "that kept no content" in (await langlog(stack, "retry", run["run_id"])).output
        assert (await langlog(stack, "retry", "--all", "--yes")).stdout.startswith("No webhook was given up")


async def test_a_long_list_is_read_page_by_page(make_stack: MakeStack) -> None:
    async with make_stack() as stack:
        pool = stack.backbone.pool
        await pool.execute(
            "INSERT INTO webhooks (run_id, part, thread_id, url, status, assistant_id, metadata, multitask_strategy, attempt, created_at, "
            "ended_at, settled_at) SELECT 'r' || n, 0, 't', 'http://x/', 'success', 'a', '{}', 'enqueue', 1, now(), now(), "
            "now() - (n / 7) * interval '1 s' FROM generate_series(1, $1::int) AS n",
            2 * PAGE + 10,
        )
        pages = [page async for page in undelivered(pool, "given up", limit=2 * PAGE + 5)]
        assert [len(page) for page in pages] == [PAGE, PAGE, 5]
        rows = [row for page in pages for row in page]
        assert len({row.run_id for row in rows}) == len(rows)
        assert rows == sorted(rows, key=lambda row: (row.given_up_at, row.run_id), reverse=True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@example.com:8443/a/b?token=t#frag", "https://example.com:8443/a/b?…"),
        ("https://example.com", "https://example.com"),
        ("https://example.com?x", "https://example.com?…"),
        ("https://a@b:c@example.com/x@y", "https://example.com/x@y"),
        ("/my/route?token=t", "/my/route?…"),
        ("https://[::1/x#?secret", "https://[::1/x"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


async def why(stack: Stack, run_id: str) -> str:
    backbone = stack.backbone
    facts = await gather(backbone.settings, backbone.pool, backbone.log, backbone.pipe, run_id)
    return "\n".join(explain(run_id, facts, backbone.settings))


async def figure(stack: Stack) -> int:
    backbone = stack.backbone
    figures = DeploymentFigures(backbone.pool, backbone.log, backbone.pipe, backbone.settings)
    lines = rendered(await figures.collect()).decode().splitlines()
    (line,) = [line for line in lines if line.startswith("langlog_webhooks_given_up ")]
    return int(float(line.split()[1]))
