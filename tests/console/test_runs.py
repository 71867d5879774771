"""The runs of all threads: filters, live changes, and running again what has failed."""

from __future__ import annotations

import re

from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import APIResponse, Route, expect

from tests.console.browser import Console
from tests.console.test_run import failed
from tests.console.test_threads import human, talked


def assistant_of(client: SyncLangGraphClient, name: str) -> str:
    """An assistant of its own for a test, so that it finds its runs alone."""
    return client.assistants.create("flow", name=name)["assistant_id"]


def failed_of(client: SyncLangGraphClient, assistant: str) -> tuple[str, str]:
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, assistant, input={"items": [3, 4], "fail_at": 4}, raise_error=False)
    return thread, client.runs.list(thread)[0]["run_id"]


def test_runs_are_listed_live_and_lead_to_their_timeline(client: SyncLangGraphClient, console: Console) -> None:
    assistant = assistant_of(client, "listed")
    page = console.open(f"runs?assistant={assistant}")
    expect(page.get_by_text("No run fits these filters")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    failed_of(client, assistant)
    row = page.get_by_role("row").filter(has_text="listed")
    expect(row).to_contain_text("error")
    console.check_accessible()
    row.get_by_role("link").first.click()
    expect(page.get_by_role("region", name="Failure")).to_be_visible()


def test_a_list_that_is_slow_arrives_while_runs_change(client: SyncLangGraphClient, console: Console) -> None:
    assistant = assistant_of(client, "slow")
    failed_of(client, assistant)
    held: list[Route] = []
    page = console.page
    page.route("**/runs/search", lambda route: held.append(route))
    other = page.context.new_page()
    other.goto(f"{console.url}/console/threads?assistant={assistant}")
    expect(other.get_by_role("row").filter(has_text="error")).to_have_count(1)
    expect(other.get_by_text("live", exact=True)).to_be_visible()
    console.open(f"runs?assistant={assistant}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    while not held:
        page.evaluate("0")  # lets the handler above run
    failed_of(client, assistant)
    expect(other.get_by_role("row").filter(has_text="error")).to_have_count(2)
    held[0].continue_()
    expect(page.get_by_role("row").filter(has_text="slow")).not_to_have_count(0)


def test_a_list_that_arrives_late_changes_as_its_runs_did(client: SyncLangGraphClient, console: Console) -> None:
    """A run that ended and one that was deleted with its thread, while the list was being read."""
    assistant = assistant_of(client, "late")
    going = client.threads.create()["thread_id"]
    client.runs.create(going, assistant, input={"items": [1], "fail_at": -1}, after_seconds=600)
    gone, _ = failed_of(client, assistant)
    late: list[tuple[Route, APIResponse]] = []

    def searched(route: Route) -> None:
        if len(late) < 2:  # the feed asks for the list once more when it opens
            late.append((route, route.fetch()))

    page = console.page
    other = page.context.new_page()
    other.goto(f"{console.url}/console/runs?assistant={assistant}")
    rows = other.get_by_role("row").filter(has_text="late")
    expect(rows).to_have_count(2)
    page.route("**/runs/search", searched)
    console.open(f"runs?assistant={assistant}")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    while not late:
        page.evaluate("0")  # lets the handler above run
    client.threads.delete(gone)
    client.runs.cancel(going, client.runs.list(going)[0]["run_id"], wait=True)
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("interrupted")
    route, response = late[0]
    route.fulfill(response=response)
    shown = page.get_by_role("row").filter(has_text="late")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text("interrupted")


def test_who_reads_further_down_is_told_of_newer_runs(client: SyncLangGraphClient, console: Console) -> None:
    assistant = assistant_of(client, "far down")
    times = {"created_at": "2026-01-01T00:00:00+00:00", "updated_at": "2026-01-01T00:00:00+00:00"}

    starts: list[int] = []

    def searched(route: Route) -> None:
        start = int(route.request.post_data_json.get("after") or 0)
        starts.append(start)
        rows = [
            {"run_id": f"{start + n:032x}", "thread_id": "0" * 32, "assistant_id": assistant, "status": "success"}
            for n in range(100)
        ]
        body = [{**row, "metadata": {}, **times} for row in rows]
        route.fulfill(json=body, headers={"x-pagination-after": "100"} if start == 0 else {})

    console.page.route("**/runs/search", searched)
    page = console.open(f"runs?assistant={assistant}")
    while starts.count(0) < 2:  # the feed asks for the list once more when it opens
        page.evaluate("0")  # lets the handler above run
    page.locator(".table .rows").evaluate("rows => rows.scrollTop = rows.scrollHeight")
    expect(page.get_by_text("Loading more…")).to_have_count(0)
    newer = page.get_by_role("button", name="Newer runs above")
    with page.expect_response(lambda answer: (answer.request.post_data_json or {}).get("limit") == 1):
        failed_of(client, assistant_of(client, "of another list"))
    page.evaluate("new Promise(shown => requestAnimationFrame(() => requestAnimationFrame(shown)))")
    expect(newer).to_have_count(0)
    page.unroute("**/runs/search")
    failed_of(client, assistant)
    newer.click()
    expect(page.get_by_role("row").filter(has_text="far down")).to_have_count(1)
    expect(page.get_by_role("row").filter(has_text="error")).to_have_count(1)


def test_all_that_failed_goes_again_after_a_confirmation_and_each_outcome_is_shown(
    client: SyncLangGraphClient, console: Console
) -> None:
    assistant = assistant_of(client, "retried")
    made = [failed_of(client, assistant) for _ in range(3)]
    overtaken, run = made[0]
    client.runs.wait(overtaken, assistant, input={"items": [1], "fail_at": -1})
    page = console.open(f"runs?status=failed&assistant={assistant}")
    expect(page.get_by_role("row").filter(has_text="retried")).to_have_count(3)
    page.get_by_role("button", name="Run all of these again").click()
    dialog = page.get_by_role("dialog", name="Run 3 failed runs again?")
    expect(dialog).to_contain_text("It continues from its last checkpoint")
    console.check_accessible()
    dialog.get_by_role("button", name="Cancel").click()
    assert client.http.post("/runs/count", json={"assistant_id": assistant}) == 4
    page.get_by_role("button", name="Run all of these again").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    over = page.get_by_role("dialog", name="2 runs of 3 go again")
    expect(over.get_by_text("1 refused")).to_be_visible()
    expect(over.get_by_text("Another run has come after this one on thread …")).to_be_visible()
    expect(over.get_by_role("link", name="Open the new run")).to_have_count(2)
    console.check_accessible()
    over.get_by_role("button", name="Close").click()
    for thread, id in made[1:]:
        again = client.runs.list(thread)
        assert [one["metadata"].get("retry_of") for one in again] == [id, None]
    assert all(one["metadata"].get("retry_of") != run for one in client.runs.list(overtaken))
    expect(page.get_by_role("row").filter(has_text="a retry").first).to_be_visible()


def test_a_retry_that_breaks_off_is_gone_on_with_and_makes_no_run_twice(
    client: SyncLangGraphClient, console: Console
) -> None:
    """The answer to the first request is lost: the server has made the run all the same."""
    console.expected += ["503", "ERR_"]
    thread, run = failed(client)
    page = console.open("runs?status=error")
    lost: list[str] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().text())
        route.fulfill(status=503, json={"detail": "The answer was lost."})

    page.route("**/runs/retry", lose)
    page.get_by_role("checkbox", name=f"Choose run {run}").check()
    page.get_by_role("button", name="Run 1 chosen run again").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("The answer was lost.")
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_role("dialog", name="1 run of 1 go again")).to_be_visible()
    assert len(client.runs.list(thread)) == 2


def test_what_has_not_failed_cannot_be_chosen(client: SyncLangGraphClient, console: Console) -> None:
    thread = talked(client, "all well")
    run = client.runs.list(thread)[0]["run_id"]
    waiting = client.runs.create(thread, "chat", input=human("later"), after_seconds=600)["run_id"]
    page = console.open("runs")
    expect(page.get_by_role("row").filter(has_text=run[-6:])).to_contain_text("success")
    expect(page.get_by_role("row").filter(has_text=waiting[-6:])).to_contain_text("pending")
    for id in (run, waiting):
        expect(page.get_by_role("checkbox", name=f"Choose run {id}")).to_have_count(0)
    client.runs.cancel(thread, waiting, wait=True)
    expect(page.get_by_role("row").filter(has_text=waiting[-6:])).to_contain_text("interrupted")
    page.get_by_label("Status").select_option("success")
    expect(page).to_have_url(re.compile("status=success"))
    expect(page.get_by_role("row").filter(has_text=waiting[-6:])).to_have_count(0)
