"""Webhooks reach their receiver, at least once and as in the wire contract (§12), despite failures."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from langlog_backbone.time.clock import new_id
from langlog_schemas import commands as cmd

from tests.gateway.conftest import Attempt, MakeStack, Stack
from tests.stack.waiting import until

from .conftest import ALLOWED, SECRET, MakeProject, Receiver, scheduler, settled


async def run_with_hook(stack: Stack, url: str, thread_id: str | None = None, **more: Any) -> Any:
    if thread_id is None:
        _, thread = await stack.call("POST", "/threads", {})
        thread_id = thread["thread_id"]
    body = {"assistant_id": "echo", "input": {"text": "w"}, "webhook": url, **more}
    status, run = await stack.call("POST", f"/threads/{thread_id}/runs", body)
    assert status == 200, run
    return run


async def test_the_end_of_a_run_is_told_with_its_values(hooked: Stack, receiver: Receiver) -> None:
    run = await run_with_hook(hooked, f"{receiver.url}/hook?x=1", metadata={"m": 1})
    (hook,) = await receiver.got(1)
    body = hook.json
    assert hook.path == "/hook?x=1"
    assert body["run_id"] == run["run_id"]
    assert body["status"] == "success"
    assert body["values"] == {"text": "w"}
    assert body["metadata"]["m"] == 1
    assert body["kwargs"]["config"]["metadata"]["run_attempt"] == 1, "the config that was executed"
    assert body["created_at"] <= body["run_started_at"] <= body["run_ended_at"] <= body["webhook_sent_at"]
    assert "error" not in body
    assert hook.headers["content-type"] == "application/json"
    assert (hook.headers["x-static"], hook.headers["x-token"]) == ("yes", "t-from-env")


async def test_a_webhook_is_signed_as_standard_webhooks_are(hooked: Stack, receiver: Receiver) -> None:
    run = await run_with_hook(hooked, receiver.url)
    (hook,) = await receiver.got(1)
    assert hook.headers["webhook-id"] == f"msg_{run['run_id']}"
    signed = f"{hook.headers['webhook-id']}.{hook.headers['webhook-timestamp']}.".encode() + hook.body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert hook.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


async def test_each_try_sends_the_same_body_and_the_third_is_the_last(hooked: Stack, receiver: Receiver) -> None:
    receiver.answers(500, 503, 500)
    run = await run_with_hook(hooked, receiver.url)
    delivery = await settled(hooked, run)
    assert delivery["state"] == "failed"
    assert delivery["next_attempt_at"] is None
    assert [(a["attempt"], a["status_code"]) for a in delivery["attempts"]] == [(1, 500), (2, 503), (3, 500)]
    assert len({hook.body for hook in receiver.hooks}) == 1
    assert len(receiver.hooks) == 3
    row = await hooked.backbone.pool.fetchrow("SELECT kwargs, state_values FROM webhooks")
    assert None not in tuple(row), "what was to be delivered stays for an operator who sends it again"
    _, same = await hooked.call("GET", f"/threads/{run['thread_id']}/runs/{run['run_id']}")
    assert same["status"] == "success", "the run does not mind"


async def test_a_receiver_that_recovers_gets_it(hooked: Stack, receiver: Receiver) -> None:
    receiver.answers(500, 204)
    delivery = await settled(hooked, await run_with_hook(hooked, receiver.url))
    assert delivery["state"] == "delivered"
    assert [a["error"] for a in delivery["attempts"]] == ["answered 500", None]
    row = await hooked.backbone.pool.fetchrow("SELECT kwargs, state_values FROM webhooks")
    assert tuple(row) == (None, None), "what was to be delivered goes with it"


async def test_a_receiver_that_hangs_holds_up_no_other(impatient: Stack, receiver: Receiver) -> None:
    async def hang(number: int) -> web.StreamResponse:
        if number == 1:
            await asyncio.sleep(30)
        return web.Response()

    receiver.answer = hang
    slow = await run_with_hook(impatient, f"{receiver.url}/slow")
    await receiver.got(1)
    assert (await settled(impatient, await run_with_hook(impatient, receiver.url)))["state"] == "delivered"
    delivery = await settled(impatient, slow)
    first, *_, last = (a["error"] for a in delivery["attempts"])
    assert (first, last) == ("no answer within 2 s", None)


async def test_a_stateless_run_is_told_of_when_its_thread_is_gone(hooked: Stack, receiver: Receiver) -> None:
    body = {"assistant_id": "echo", "input": {"text": "w"}, "webhook": receiver.url}
    _, run = await hooked.call("POST", "/runs", body)
    (hook,) = await receiver.got(1)
    assert hook.json["status"] == "success"
    assert hook.json["values"] is None
    delivery = await settled(hooked, run)
    assert delivery["state"] == "delivered"
    assert (await hooked.call("GET", f"/threads/{run['thread_id']}"))[0] == 404


async def test_deleting_the_thread_does_not_take_its_webhooks_along(
    make_stack: MakeStack, make_project: MakeProject, receiver: Receiver
) -> None:
    async with make_stack(project=make_project(webhooks=ALLOWED)) as stack:
        run = await run_with_hook(stack, receiver.url)
        await stack.call("GET", f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")
        assert (await stack.call("DELETE", f"/threads/{run['thread_id']}"))[0] == 204
        async with scheduler(stack.backbone):
            (hook,) = await receiver.got(1)
            assert hook.json["values"] == {"text": "w"}
            assert (await settled(stack, run))["state"] == "delivered"


@pytest.mark.parametrize(
    ("action", "status", "error"),
    [("interrupt", "interrupted", "UserInterrupt"), ("rollback", "rollback", "UserRollback")],
)
async def test_a_cancelled_run_says_so(hooked: Stack, receiver: Receiver, action: str, status: str, error: str) -> None:
    _, thread = await hooked.call("POST", "/threads", {})
    first = await run_with_hook(hooked, f"{receiver.url}/first", thread["thread_id"], input={"text": "before"})
    await settled(hooked, first)

    asked_to_stop = asyncio.Event()

    async def stopped(attempt: Attempt) -> None:
        await attempt.started()
        await asked_to_stop.wait()
        await attempt.finish(outcome="interrupted" if action == "interrupt" else "rolled_back")

    hooked.play = stopped
    run = await run_with_hook(hooked, receiver.url, thread["thread_id"])
    path = f"/threads/{run['thread_id']}/runs/{run['run_id']}/cancel?action={action}"
    assert (await hooked.call("POST", path))[0] == 202
    asked_to_stop.set()
    body = (await receiver.got(2))[1].json
    assert body["status"] == status
    assert body["values"] == ({"text": "before"} if action == "interrupt" else None)
    assert body["error"] == {
        "error": error,
        "message": f"{action} requested via POST /threads/{{thread_id}}/runs/{{run_id}}/cancel",
    }


async def test_a_failed_run_says_why(hooked: Stack, receiver: Receiver) -> None:
    async def fail(attempt: Attempt) -> None:
        await attempt.started()
        await attempt.finish(outcome="error", error=cmd.RunError("ValueError", "bad"))

    hooked.play = fail
    await run_with_hook(hooked, receiver.url)
    body = (await receiver.got(1))[0].json
    assert body["status"] == "error"
    assert body["error"] == {"error": "ValueError", "message": "bad"}


async def test_what_ended_while_no_scheduler_ran_is_delivered_by_the_next_one(
    make_stack: MakeStack, make_project: MakeProject, receiver: Receiver
) -> None:
    async with make_stack(project=make_project(webhooks=ALLOWED)) as stack:
        runs = [await run_with_hook(stack, receiver.url) for _ in range(40)]
        for run in runs:
            await stack.call("GET", f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")
        assert not receiver.hooks
        async with scheduler(stack.backbone):
            hooks = await receiver.got(40)
            assert {hook.json["run_id"] for hook in hooks} == {run["run_id"] for run in runs}


async def test_two_schedulers_send_a_webhook_once(
    make_stack: MakeStack, make_project: MakeProject, receiver: Receiver
) -> None:
    receiver.answers(500, 200)
    async with (
        make_stack(project=make_project(webhooks=ALLOWED), webhook_backoff_s=0.05) as stack,
        scheduler(stack.backbone),
        scheduler(stack.backbone),
    ):
        runs = [await run_with_hook(stack, receiver.url) for _ in range(20)]
        deliveries = [await settled(stack, run) for run in runs]
    assert {delivery["state"] for delivery in deliveries} == {"delivered"}
    assert len(receiver.hooks) == 21, "one was tried twice"


async def test_a_scheduler_that_dies_while_sending_leaves_it_to_the_next(
    make_stack: MakeStack, make_project: MakeProject, receiver: Receiver
) -> None:
    async def hang_once(number: int) -> web.StreamResponse:
        if number == 1:
            await asyncio.sleep(30)
        return web.Response()

    receiver.answer = hang_once
    async with make_stack(project=make_project(webhooks=ALLOWED), drain_s=0.0) as stack:
        async with scheduler(stack.backbone):
            run = await run_with_hook(stack, receiver.url)
            await receiver.got(1)
        async with scheduler(stack.backbone):
            delivery = await settled(stack, run)
    assert [a["attempt"] for a in delivery["attempts"]] == [1]
    assert len(receiver.hooks) == 2


async def test_the_outcome_of_a_try_counts_once_however_often_it_is_said(hooked: Stack, receiver: Receiver) -> None:
    from tests.gateway.conftest import append

    run = await run_with_hook(hooked, receiver.url)
    await settled(hooked, run)
    again = cmd.RecordWebhookAttempt(
        thread_id=run["thread_id"], run_id=run["run_id"], attempt=1, attempted_at="2026-01-01T00:00:00+00:00"
    )
    await append(hooked.backbone, cmd.TOPIC, again.key, again.TYPE, cmd.encode(again), f"{run['run_id']}-webhook-1")
    await hooked.call("PATCH", f"/threads/{run['thread_id']}", {"metadata": {}})
    delivery = await settled(hooked, run)
    assert delivery["state"] == "delivered"
    assert len(delivery["attempts"]) == 1


async def test_redirects_are_not_followed(hooked: Stack, receiver: Receiver) -> None:
    async def redirect(_: int) -> web.StreamResponse:
        return web.Response(status=307, headers={"location": "http://169.254.169.254/latest"})

    receiver.answer = redirect
    delivery = await settled(hooked, await run_with_hook(hooked, receiver.url))
    assert {a["error"] for a in delivery["attempts"]} == {"answered 307 (redirects are not followed)"}


async def test_a_name_that_leads_inside_is_refused_when_it_is_sent_to(
    make_stack: MakeStack, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with make_stack(project=make_project()) as stack, scheduler(stack.backbone):
        delivery = await settled(stack, await run_with_hook(stack, "http://innocent.example/x"))
    assert delivery["state"] == "failed"
    assert [a["error"] for a in delivery["attempts"]] == ["Webhook host blocked: loopback IP range"], (
        "and not tried again"
    )


async def test_a_relative_webhook_goes_to_the_servers_own_routes(
    make_stack: MakeStack, make_project: MakeProject
) -> None:
    from tests.stack.server import free_port

    port = free_port()
    project = make_project(webhooks=ALLOWED)
    async with make_stack(project=project, port=port, base_url=f"http://127.0.0.1:{port}") as stack:
        async with scheduler(stack.backbone):
            delivery = await settled(stack, await run_with_hook(stack, "/assistants/count"))
    assert delivery["attempts"][0]["status_code"] == 200


async def test_a_relative_webhook_is_refused_where_the_server_does_not_know_its_own_address(
    make_stack: MakeStack, make_project: MakeProject
) -> None:
    async with make_stack(project=make_project(webhooks=ALLOWED)) as stack:
        body = {"assistant_id": "echo", "webhook": "/hook"}
        status, answer = await stack.call("POST", "/runs", body)
        assert status == 422
        assert "LANGLOG_BASE_URL" in answer["detail"]


@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream", "/runs/batch", "/runs/crons"])
async def test_every_endpoint_that_takes_a_webhook_checks_its_address(
    make_stack: MakeStack, make_project: MakeProject, path: str
) -> None:
    async with make_stack(project=make_project()) as stack:
        body: Any = {"assistant_id": "echo", "webhook": "http://127.0.0.1/x", "schedule": "* * * * *"}
        status, answer = await stack.call("POST", path, [body] if path.endswith("batch") else body)
        assert (status, answer) == (422, {"detail": "Webhook host blocked: loopback IP range"})
        assert await stack.backbone.pool.fetchval("SELECT count(*) FROM runs") == 0


async def test_a_run_without_a_webhook_has_an_empty_log_and_an_unknown_one_none(stack_without_scheduler: Stack) -> None:
    stack = stack_without_scheduler
    _, thread = await stack.call("POST", "/threads", {})
    _, run = await stack.call("POST", f"/threads/{thread['thread_id']}/runs", {"assistant_id": "echo", "input": {}})
    path = f"/threads/{thread['thread_id']}/runs"
    assert await stack.call("GET", f"{path}/{run['run_id']}/webhooks") == (200, [])
    assert (await stack.call("GET", f"{path}/{new_id()}/webhooks"))[0] == 404


async def test_the_log_of_a_delivery_is_kept_for_a_week(hooked: Stack, receiver: Receiver) -> None:
    old = await run_with_hook(hooked, receiver.url)
    await settled(hooked, old)
    await hooked.backbone.pool.execute("UPDATE webhooks SET settled_at = settled_at - interval '8 days'")
    # the tries of a partition are its clock
    await settled(hooked, await run_with_hook(hooked, receiver.url, old["thread_id"]))

    async def gone() -> bool:
        count = await hooked.backbone.pool.fetchval("SELECT count(*) FROM webhooks WHERE run_id = $1", old["run_id"])
        return bool(count == 0)

    assert await until(hooked.backbone, gone)
