"""Pages given what they do not expect: hostile schemas and values, a connection that breaks in the middle of an action."""

from __future__ import annotations

import json
import re

from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Page, Route, expect

from tests.console.browser import Console
from tests.console.test_operate import run_of

MARKUP = '<img src=x onerror="alert(1)"><a href="javascript:alert(1)">\u202e🎈</a>'


def answered(page: Page, path: str, body: object) -> None:
    """Replace the server's response on a path."""
    page.route(path, lambda route: route.fulfill(json=body))


def interrupt(value: object, schema: object, number: int = 1) -> dict[str, object]:
    ids = dict.fromkeys(("thread_id", "run_id", "assistant_id"), f"00000000-0000-4000-8000-00000000000{number}")
    about = {"interrupt_id": f"i{number}", "graph_id": MARKUP, "task_id": "t", "created_at": "2026-01-01T00:00:00Z"}
    return {**ids, **about, "value": value, "response_schema": schema, "metadata": {MARKUP: "/'\""}}


def test_hostile_questions_are_readable_and_harmless(console: Console) -> None:
    page = console.page
    wide = {"type": "object", "properties": {f"f{n}": {"$ref": "#"} for n in range(60)}, "required": ["f1"]}
    many = {"type": "object", "properties": {f"{MARKUP}{n}": {"type": "string"} for n in range(5_000)}}
    deep: object = MARKUP
    for _ in range(200):
        deep = {"in": deep}
    asked = [
        (MARKUP, wide),
        ({"question": MARKUP}, {"allOf": [{"$ref": "#"}]}),
        ("x" * 1_000_000, many),
        (deep, "none"),
    ]
    rows = [interrupt(value, schema, number) for number, (value, schema) in enumerate(asked, 1)]
    answered(page, "**/interrupts/search", rows)
    answered(page, "**/interrupts/count", len(rows))
    console.open("inbox")
    questions = page.get_by_role("list", name="Open questions").get_by_role("button")
    expect(questions).to_have_count(4)
    for index in range(4):
        questions.nth(index).click()
        expect(page.get_by_role("article", name="Question").get_by_role("button", name="Answer").first).to_be_visible()
    assert page.locator("#main img").count() == 0
    console.check_accessible()


def test_an_answer_that_is_no_json_is_not_sent(console: Console) -> None:
    page = console.page
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    answered(page, "**/interrupts/search", [interrupt("?", schema)])
    answered(page, "**/interrupts/count", 1)
    console.open("inbox")
    page.get_by_role("button", name="Edit as JSON").click()
    page.get_by_label("Answer as JSON").fill('{"ok": tru')
    expect(page.get_by_role("button", name="Answer", exact=True)).to_be_disabled()
    # the same question, read again, takes nothing away
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_label("Answer as JSON")).to_have_value('{"ok": tru')
    page.get_by_role("button", name="Edit as a form").click()
    expect(page.get_by_role("button", name="Answer", exact=True)).to_be_enabled()


def test_a_replay_whose_connection_breaks_is_not_begun_again(console: Console, client: SyncLangGraphClient) -> None:
    console.expected += ["ERR_"]
    thread, run = run_of(client)
    begun: list[str] = []

    def broken(route: Route) -> None:
        begun.append(route.request.url)
        route.abort("connectionreset")

    console.page.route("**/replay", lambda route: broken(route) if route.request.method == "POST" else route.fallback())
    page = console.open(f"replay?thread={thread}&run={run}")
    page.get_by_role("button", name="Run it in the sandbox").click()
    expect(page.get_by_role("alert")).to_contain_text("The connection broke")
    expect(page.get_by_text("Connection lost")).to_have_count(0)  # the server has answered since
    expect(page.get_by_role("button", name="Run it again")).to_be_enabled()
    assert len(begun) == 1


def test_an_input_sent_again_after_its_answer_was_lost_makes_one_run(
    console: Console, client: SyncLangGraphClient
) -> None:
    console.expected += ["ERR_"]
    lost: list[str] = []

    def lose_first(route: Route) -> None:
        if lost:
            return route.fallback()
        lost.append(route.fetch().text())
        return route.abort("connectionreset")

    console.page.route(re.compile("/threads/[^/]+/runs$"), lose_first)
    assistant = client.assistants.search(graph_id="chat")[0]["assistant_id"]
    page = console.open(f"try?assistant={assistant}")
    page.get_by_label("Message", exact=True).fill("only once")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("log").get_by_text("You said: only once")).to_be_visible()
    run = json.loads(lost[0])
    assert run["thread_id"] in page.url
    assert [one["run_id"] for one in client.runs.list(run["thread_id"])] == [run["run_id"]]


def test_a_run_leads_to_its_graph_and_replay_and_says_why_it_does_not_move(
    console: Console, client: SyncLangGraphClient
) -> None:
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "flow", input={"items": [], "fail_at": -1}, after_seconds=3600)["run_id"]
    page = console.open(f"threads/{thread}/runs/{run}")
    expect(page.get_by_role("region", name="Why it does not move").get_by_role("listitem").first).to_be_visible()
    console.check_accessible()
    page.get_by_role("link", name="Graph", exact=True).last.click()
    expect(page.get_by_text("One run")).to_be_visible()
    page.go_back()
    page.get_by_role("banner").or_(page.locator(".page-head")).get_by_role("link", name="Replay").last.click()
    expect(page.get_by_role("button", name="Run it in the sandbox")).to_be_visible()
    client.runs.delete(thread, run)


def test_a_failed_run_is_understood_in_three_clicks_and_run_again_in_two(
    console: Console, client: SyncLangGraphClient
) -> None:
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "flow", input={"items": [3, 4], "fail_at": 4}, raise_error=False)
    page = console.open(f"threads/{thread}")
    page.get_by_role("link", name="What happened").click()
    failure = page.get_by_role("region", name="Failure")
    expect(failure).to_contain_text("item 4 cannot be added")
    failure.get_by_text("Its input").click()
    expect(failure.get_by_text("fail_at")).to_be_visible()
    failure.get_by_role("link", name="Run again from there").click()
    expect(page.get_by_role("button", name=re.compile("Run on from here"))).to_be_visible()


def test_a_server_whose_database_is_not_there_yet_is_asked_again(console: Console) -> None:
    console.expected += ["503"]
    answers = [503, 200]
    console.page.route(
        "**/store/namespaces",
        lambda route: (
            route.fulfill(status=503, json={"detail": "Postgres cannot be reached"})
            if answers.pop(0) == 503
            else route.fulfill(json={"namespaces": [["a/b", MARKUP]]})
        ),
    )
    page = console.open("store")
    names = page.get_by_role("navigation", name="Namespaces")
    expect(names.get_by_role("button", name="a/b")).to_be_visible()
    names.get_by_role("button", name="a/b").click()
    page.get_by_role("button", name="Put an item").click()
    expect(page.get_by_label("Namespace", exact=True)).to_have_value('["a/b"]')
