"""The pages of people who build agents: try it, graph, crons, assistants, store."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Request, Route, expect

from tests.console.browser import Console


def assistant_of(client: SyncLangGraphClient, graph: str) -> str:
    return client.assistants.search(graph_id=graph)[0]["assistant_id"]


def test_a_graph_is_talked_to_and_answers_live(console: Console, client: SyncLangGraphClient) -> None:
    page = console.open(f"try?assistant={assistant_of(client, 'chat')}")
    page.get_by_label("Message", exact=True).fill("hello <b>there</b>")
    page.get_by_label("Message", exact=True).press("Control+Enter")
    expect(page.get_by_role("log").get_by_text("You said: hello <b>there</b>")).to_be_visible()
    expect(page).to_have_url(re.compile("thread="))
    events = page.get_by_role("region", name="Events")
    expect(events.get_by_role("tab", name="updates")).to_be_visible()
    expect(events.get_by_role("listitem").filter(has_text="hello <b>there</b>").first).to_be_visible()
    console.check_accessible()
    expect(events.get_by_role("tab", name="messages")).to_have_count(0)
    page.get_by_label("messages-tuple").check()
    expect(events.get_by_role("tab", name="messages")).to_be_visible()
    page.get_by_label("Message", exact=True).fill("once more")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("log").get_by_text("You said: once more")).to_be_visible()
    page.get_by_role("button", name="New thread").click()
    expect(page.get_by_text("Your first input makes it.")).to_be_visible()


def test_a_file_is_attached_to_a_message(console: Console, client: SyncLangGraphClient) -> None:
    page = console.open(f"try?assistant={assistant_of(client, 'chat')}")
    note = {"name": "note.md", "mimeType": "text/markdown", "buffer": b"# Remember the milk"}
    page.get_by_label("Attach files").set_input_files([note])
    expect(page.get_by_role("list", name="Attachments").get_by_text("note.md")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("region", name="Messages and state").get_by_text("Remember the milk").first).to_be_visible()


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""


def test_an_input_that_is_sent_while_one_leaves_the_page_opens_nothing(
    console: Console, client: SyncLangGraphClient
) -> None:
    page = console.open(f"try?assistant={assistant_of(client, 'chat')}")
    held: list[Route] = []
    streams: list[Request] = []
    page.on("request", lambda request: streams.append(request) if request.url.endswith("/stream") else None)
    page.route(re.compile("/threads/[0-9a-f-]+/runs$"), lambda route: held.append(route))
    page.get_by_label("Message", exact=True).fill("hello")
    page.get_by_role("button", name="Send").click()
    while not held:
        page.evaluate("0")  # lets the handler above run
    page.get_by_role("link", name="Store", exact=True).click()
    expect(page.get_by_role("heading", name="Store")).to_be_visible()
    with page.expect_response(re.compile("/threads/[0-9a-f-]+/runs$")):
        held[0].continue_()
    page.evaluate("new Promise(shown => requestAnimationFrame(() => requestAnimationFrame(shown)))")
    assert page.url.endswith("/console/store") and not streams


def test_a_picture_is_attached_and_shown_in_the_conversation(console: Console, client: SyncLangGraphClient) -> None:
    page = console.open(f"try?assistant={assistant_of(client, 'chat')}")
    page.get_by_label("Message", exact=True).fill("what is this?")
    dot = {"name": "dot.png", "mimeType": "image/png", "buffer": base64.b64decode(DOT)}
    page.get_by_label("Attach files").set_input_files([dot])
    page.get_by_role("button", name="Send").click()
    picture = page.get_by_role("log").get_by_role("img", name="Picture in the message")
    expect(picture).to_have_js_property("naturalWidth", 1)


def test_a_graph_with_another_input_gets_a_form_and_its_failure_is_shown(
    console: Console, client: SyncLangGraphClient
) -> None:
    page = console.open(f"try?assistant={assistant_of(client, 'flow')}")
    page.get_by_role("button", name="Edit as JSON").click()
    page.get_by_label("Input as JSON").fill('{"items": [3, 4], "fail_at": 4}')
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("ValueError: item 4 cannot be added").first).to_be_visible()


def test_the_drawing_shows_what_nodes_did_and_one_run_of_them(console: Console, client: SyncLangGraphClient) -> None:
    made = client.assistants.create("flow", name="drawn")["assistant_id"]
    thread = client.threads.create()["thread_id"]
    for fail_at in (-1, 4):
        client.runs.wait(thread, made, input={"items": [3, 4], "fail_at": fail_at}, raise_error=False)
    page = console.open(f"graph?assistant={made}")
    drawing = page.get_by_role("region", name="Drawing")
    expect(drawing.get_by_role("button", name=re.compile("plan ?2."))).to_be_visible()
    expect(drawing.get_by_role("button", name=re.compile("add ?2..* 1 failed"))).to_be_visible()
    console.check_accessible()
    page.get_by_role("list", name="Runs").get_by_role("link").last.click()
    expect(page.get_by_text("One run")).to_be_visible()
    expect(drawing.get_by_role("button", name=re.compile("add ?1."))).to_be_visible()
    drawing.get_by_role("button", name=re.compile("^plan")).click()
    expect(page.get_by_text("Middle duration")).to_be_visible()
    page.get_by_label("unfold subgraphs").uncheck()
    expect(drawing.get_by_role("button", name=re.compile("^work"))).to_be_visible()


def test_runs_whose_events_are_refused_for_a_moment_are_counted(console: Console, client: SyncLangGraphClient) -> None:
    console.expected += ["503"]
    made = client.assistants.create("flow", name="refused")["assistant_id"]
    client.runs.wait(client.threads.create()["thread_id"], made, input={"items": [3], "fail_at": -1})
    refused: list[Route] = []

    def answer(route: Route) -> None:
        refused.append(route)
        if len(refused) > 2:  # the feed asks for the runs once more when it opens
            route.fallback()
        else:
            route.fulfill(status=503, json={"detail": "The log is unavailable"})

    console.page.route(re.compile(r"/runs/[0-9a-f-]+/events\?"), answer)
    page = console.open(f"graph?assistant={made}")
    drawing = page.get_by_role("region", name="Drawing")
    expect(drawing.get_by_role("button", name=re.compile("plan ?1."))).to_be_visible()


def test_nodes_light_up_while_they_run(console: Console, client: SyncLangGraphClient, tmp_path: Path) -> None:
    made = client.assistants.create("slow", name="lit")["assistant_id"]
    page = console.open(f"graph?assistant={made}")
    expect(page.get_by_text("No run yet")).to_be_visible()
    thread = client.threads.create()["thread_id"]
    client.runs.create(thread, made, input={"until": str(tmp_path / "go")})
    drawing = page.get_by_role("region", name="Drawing")
    expect(drawing.get_by_role("button", name=re.compile("wait.*runs now"))).to_be_visible()
    expect(drawing.locator(".node.running")).to_have_count(1)
    console.check_accessible()
    page.get_by_role("list", name="Runs").get_by_role("link").click()
    expect(page.get_by_text("One run")).to_be_visible()
    expect(drawing.locator(".node.running")).to_have_count(1)
    (tmp_path / "go").touch()
    expect(drawing.locator(".node.running")).to_have_count(0)
    expect(drawing.locator(".node.ran")).to_have_count(2)


def test_an_assistant_that_is_not_there_is_said_to_be_missing_and_another_can_be_chosen(
    console: Console, client: SyncLangGraphClient
) -> None:
    console.expected.append("404")
    for view in ("graph", "try"):
        page = console.open(f"{view}?assistant=01a1fe12-a350-7325-920e-12e7f5e14470")
        expect(page.get_by_role("alert")).to_contain_text("There is no assistant 01a1fe12")
        expect(page.get_by_role("textbox")).to_have_count(0)
        page.get_by_label("Assistant").select_option(assistant_of(client, "chat"))
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_cron_is_fired_paused_and_deleted(console: Console, client: SyncLangGraphClient) -> None:
    body = {"items": [1], "fail_at": -1}
    client.crons.create(assistant_of(client, "flow"), schedule="0 9 * * 1-5", input=body, on_run_completed="keep")
    page = console.open("crons")
    row = page.get_by_role("row").filter(has_text="0 9 * * 1-5")
    expect(row.get_by_text("on", exact=True)).to_be_visible()
    row.get_by_role("button", name="Fire now").click()
    firings = page.get_by_role("region", name="Cron", exact=True)
    upcoming = firings.get_by_role("region", name="Next firings")
    expect(upcoming.get_by_role("listitem")).to_have_count(5)
    expect(firings.get_by_text("success")).to_be_visible()
    console.check_accessible()
    row.get_by_role("button", name="Pause").click()
    expect(row.get_by_text("paused", exact=True)).to_be_visible()
    expect(upcoming.get_by_text("None while it is paused.")).to_be_visible()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(row).to_have_count(0)


def test_an_assistant_is_edited_compared_and_taken_back(console: Console, client: SyncLangGraphClient) -> None:
    made = client.assistants.create("flow", name="first name", metadata={"team": "support"})["assistant_id"]
    page = console.open(f"assistants?assistant={made}")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_label("Name", exact=True).fill("second name")
    page.get_by_role("button", name="Save as a new version").click()
    second = page.get_by_role("region", name="Version 2")
    expect(second.get_by_text("in use")).to_be_visible()
    expect(second.locator("dd.removed").first).to_contain_text("first name")
    expect(second.locator("dd.added").first).to_contain_text("second name")
    console.check_accessible()
    page.get_by_role("group", name="Versions").get_by_role("button", name="1", exact=True).click()
    page.get_by_role("button", name="Use this version").click()
    expect(page.get_by_role("region", name="Version 1").get_by_text("in use")).to_be_visible()
    assert client.assistants.get(made)["name"] == "first name"


def test_items_of_the_store_are_found_put_and_deleted(console: Console, client: SyncLangGraphClient) -> None:
    for number in range(3):
        client.store.put_item(["people", "ada"], f"note-{number}", {"n": number, "text": f"<i>note</i> {number}"})
    client.store.put_item(["people", "bob"], "other", {"n": 9})
    page = console.open("store")
    page.get_by_role("navigation", name="Namespaces").get_by_role("button", name="people").click()
    table = page.get_by_role("table", name="Items")
    expect(table.get_by_text("other")).to_be_visible()
    page.get_by_role("navigation", name="Namespaces").get_by_role("button", name="ada").click()
    expect(table.get_by_text("other")).to_have_count(0)
    page.get_by_label("Filter").fill("n=2")
    page.get_by_label("Filter").press("Enter")
    page.get_by_label("Filter").blur()
    expect(table.get_by_text("note-1")).to_have_count(0)
    table.get_by_role("button", name="note-2").click()
    pane = page.get_by_role("complementary", name="Item")
    expect(pane.get_by_text("<i>note</i> 2")).to_be_visible()
    console.check_accessible()
    pane.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("No item here")).to_be_visible()
    page.get_by_role("button", name="Put an item").click()
    dialog = page.get_by_role("dialog", name="Put an item")
    dialog.get_by_label("Key").fill("made")
    dialog.get_by_label("Value as JSON").fill('{"n": 2}')
    dialog.get_by_role("button", name="Put", exact=True).click()
    expect(table.get_by_text("made")).to_be_visible()
    assert client.store.get_item(["people", "ada"], "made")["value"] == {"n": 2}


def test_items_are_ranked_by_meaning(console: Console, client: SyncLangGraphClient) -> None:
    for key, text in (("gone", "the money is gone"), ("fine", "the weather is fine")):
        client.store.put_item(["ranked"], key, {"text": text})
    page = console.open("store?namespace=ranked")
    table = page.get_by_role("table", name="Items")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table.get_by_role("columnheader", name="Score")).to_have_count(0)
    page.get_by_label("Meaning").fill("how is the weather")
    page.get_by_label("Meaning").press("Enter")
    expect(table.get_by_role("columnheader", name="Score")).to_be_visible()
    expect(table.get_by_role("row").nth(1)).to_contain_text("fine")
    expect(page.get_by_text("None of these items has an embedding")).to_have_count(0)
    page.get_by_label("Meaning").fill("how is the money")
    page.get_by_label("Meaning").press("Enter")
    expect(table.get_by_role("row").nth(1)).to_contain_text("gone")


def test_items_say_when_they_expire_and_are_read_page_by_page(console: Console, client: SyncLangGraphClient) -> None:
    for number in range(230):
        client.store.put_item(["many"], f"item-{number:03}", {"n": number}, ttl=60 if number == 0 else None)
    asked: list[dict[str, Any]] = []
    console.page.on(
        "request",
        lambda request: asked.append(request.post_data_json) if request.url.endswith("/store/items/search") else None,
    )
    page = console.open("store?namespace=many")
    table = page.get_by_role("table", name="Items")
    expect(table.get_by_role("row").filter(has_text="item-000")).to_contain_text(re.compile("in (59|60) min|in 1 h"))
    table.get_by_role("button", name="item-000").click()
    expect(page.get_by_role("complementary", name="Item")).to_contain_text(re.compile("Expires ?in"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Item")).to_have_count(0)
    page.locator(".table .rows").evaluate("rows => rows.scrollTop = rows.scrollHeight")
    expect(page.get_by_text("Loading more…")).to_have_count(0)
    page.locator(".table .rows").evaluate("rows => rows.scrollTop = rows.scrollHeight")
    expect(table.get_by_role("button", name="item-229")).to_be_visible()
    assert [(one["offset"], one["limit"]) for one in asked] == [(0, 200), (200, 200)]


def test_raw_events_go_on_after_a_stream_that_a_server_closed(console: Console, client: SyncLangGraphClient) -> None:
    """A server that shuts down closes its streams cleanly: the test cuts one off after its first events."""
    page = console.open(f"try?assistant={assistant_of(client, 'chat')}")
    resumed: list[str | None] = []

    def cut(route: Route) -> None:
        resumed.append(route.request.headers.get("last-event-id"))
        if len(resumed) > 1:
            route.continue_()
            return
        whole = route.fetch().text()
        first = whole.split("\n\n")[0] + "\n\n"
        route.fulfill(body=first, headers={"content-type": "text/event-stream"})

    def still_running(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "status": "running"})

    page.route(re.compile("/runs/[0-9a-f-]+/stream"), cut)
    page.route(re.compile("/runs/[0-9a-f-]{36}$"), still_running)
    page.get_by_label("Message", exact=True).fill("hello")
    page.get_by_role("button", name="Send").click()
    events = page.get_by_role("region", name="Events")
    expect(events.get_by_role("tab", name="updates")).to_be_visible()
    page.unroute(re.compile("/runs/[0-9a-f-]{36}$"))
    expect(events.get_by_text("waiting for more")).to_have_count(0)
    assert resumed[0] == "-1" and resumed[1] not in (None, "-1")
