"""With custom authentication, behind a mount prefix, in read-only mode: the header that the project requires, and no
objects of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Page, expect

from tests.console.browser import Console
from tests.console.endpoints import operations
from tests.console.test_threads import human, talked
from tests.stack.server import LiveServer

PROJECT = Path(__file__).parent / "guarded" / "langgraph.json"


@pytest.fixture(scope="module")
def guarded(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    env = {"LANGLOG_CONSOLE": "read"}
    with LiveServer(PROJECT, tmp_path_factory.mktemp("guarded"), env).up() as live:
        yield live


@pytest.fixture(scope="module")
def secret(guarded: LiveServer) -> str:
    """A thread of Grace's."""
    return talked(as_caller(guarded, "grace"), "a secret of Grace's")


@pytest.fixture
def console(open_console: Callable[..., Console], guarded: LiveServer) -> Console:
    made = open_console(f"{guarded.url}/team")
    made.expected += ["401", "403", "404"]
    return made


def as_caller(server: LiveServer, key: str) -> SyncLangGraphClient:
    return get_sync_client(url=f"{server.url}/team", headers={"x-team-key": key})


def signed_in(page: Page, key: str) -> None:
    dialog = page.get_by_role("dialog", name="Credentials")
    dialog.get_by_label("Header").fill("x-team-key")
    dialog.get_by_label("Value").fill(key)
    dialog.get_by_role("button", name="Use").click()


def test_the_page_asks_for_the_header_and_forgets_it_when_it_is_closed(console: Console, guarded: LiveServer) -> None:
    talked(as_caller(guarded, "ada"), "a question of Ada's")
    page = console.open("threads")
    expect(page.get_by_role("dialog", name="Credentials")).to_contain_text("Send your key as x-team-key")
    console.check_accessible()
    first = page.get_by_role("dialog", name="Credentials").element_handle()
    signed_in(page, "nobody")
    expect(page.get_by_text("Send your key as x-team-key").first).to_be_visible()
    expect(page.get_by_role("dialog", name="Credentials")).to_be_visible()
    first.evaluate("dialog => dialog.dispatchEvent(new Event('close'))")  # as a busy browser sends it: late
    signed_in(page, "ada")
    expect(page.get_by_text("a question of Ada's").first).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])").count("ada") == 0
    page.reload()
    expect(page.get_by_role("dialog", name="Credentials")).to_be_visible()


def test_another_callers_things_are_never_shown(console: Console, guarded: LiveServer, secret: str) -> None:
    talked(as_caller(guarded, "ada"), "Ada's own")
    run = as_caller(guarded, "grace").runs.list(secret)[0]["run_id"]
    page = console.open("threads")
    signed_in(page, "ada")
    expect(page.get_by_text("Ada's own").first).to_be_visible()
    talked(as_caller(guarded, "grace"), "another secret of Grace's")
    talked(as_caller(guarded, "ada"), "a second of Ada's")
    expect(page.get_by_text("a second of Ada's").first).to_be_visible()
    expect(page.get_by_text("secret")).to_have_count(0)
    for view in ("", "/events", f"/runs/{run}", "/diff", "/travel"):
        # within the page, which keeps the header
        page.evaluate(
            "address => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }",
            f"/team/console/threads/{secret}{view}",
        )
        expect(page.get_by_role("alert").first).to_contain_text(re.compile("not found", re.IGNORECASE))
        expect(page.get_by_text("secret of Grace's")).to_have_count(0)


def test_a_thread_is_live_for_who_signs_in_and_gone_for_who_may_not_see_it(
    console: Console, guarded: LiveServer, secret: str
) -> None:
    ada = talked(as_caller(guarded, "ada"), "Ada's question")
    page = console.open(f"threads/{ada}")
    signed_in(page, "ada")
    expect(page.get_by_text("You said: Ada's question")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    as_caller(guarded, "ada").runs.wait(ada, "chat", input=human("said while she looks"))
    expect(page.get_by_text("You said: said while she looks")).to_be_visible()
    page.get_by_role("button", name="Credentials").click()
    signed_in(page, "grace")
    expect(page.get_by_role("alert").first).to_contain_text("not found")
    expect(page.get_by_text("Ada's question")).to_have_count(0)
    expect(page.get_by_text("live", exact=True)).to_have_count(0)


def test_a_list_is_not_left_to_a_caller_whose_query_is_refused(console: Console, guarded: LiveServer) -> None:
    talked(as_caller(guarded, "ada"), "in Ada's list")
    page = console.open("threads")
    signed_in(page, "ada")
    expect(page.get_by_text("in Ada's list").first).to_be_visible()
    page.route("**/threads/search", lambda route: route.fulfill(status=403, json={"detail": "Not for you"}))
    page.get_by_role("button", name="Credentials").click()
    signed_in(page, "grace")
    expect(page.get_by_role("alert").first).to_contain_text("Not for you")
    expect(page.get_by_text("in Ada's list")).to_have_count(0)
    expect(page.get_by_text(re.compile(r"^\d+ threads?$"))).to_have_count(0)


def test_the_feed_that_one_caller_is_refused_is_opened_for_the_next(console: Console, guarded: LiveServer) -> None:
    page = console.open("threads")
    page.route("**/changes", lambda route: route.fulfill(status=403, json={"detail": "Not for you"}))
    with page.expect_response("**/changes"):
        signed_in(page, "ada")
    expect(page.get_by_text("Lists are not live on this server.")).to_have_count(1)
    page.unroute("**/changes")
    page.get_by_role("link", name="Health", exact=True).click()
    page.get_by_role("button", name="Credentials").click()
    signed_in(page, "grace")
    page.get_by_role("link", name="Threads", exact=True).click()
    expect(page.get_by_text("live", exact=True)).to_be_visible()


SECRET = "a secret of Grace's"


@pytest.fixture(scope="module")
def of_grace(guarded: LiveServer) -> dict[str, str]:
    """One of each thing, Grace's: parameter of a path → id."""
    grace = as_caller(guarded, "grace")
    thread = grace.threads.create()["thread_id"]
    grace.runs.wait(thread, "asks", input={"question": SECRET})
    state = grace.threads.get_state(thread)
    assistant = grace.assistants.create("chat", name=SECRET)["assistant_id"]
    cron = grace.crons.create("chat", schedule="0 9 * * 1", input={"messages": [{"role": "user", "content": SECRET}]})
    grace.store.put_item(["grace", "notes"], "note", {"text": SECRET})
    return {
        "thread_id": thread,
        "run_id": grace.runs.list(thread)[0]["run_id"],
        "checkpoint_id": str(state["checkpoint"]["checkpoint_id"]),
        "interrupt_id": state["tasks"][0]["interrupts"][0]["id"],
        "assistant_id": assistant,
        "cron_id": cron["cron_id"],
    }


def addressed(example: Any, ids: dict[str, str]) -> Any:
    """The example of a body, aimed at these objects."""
    if isinstance(example, list):
        return [addressed(one, ids) for one in example]
    if not isinstance(example, dict):
        return example
    aimed = {name: ids[name] if name in ids else addressed(one, ids) for name, one in example.items()}
    for name, value in (("run_ids", [ids["run_id"]]), ("namespace", ["grace", "notes"]), ("key", "note")):
        if name in aimed:
            aimed[name] = value
    return aimed


def things(client: SyncLangGraphClient, ids: dict[str, str]) -> list[Any]:
    """Return what another caller must not change of these objects."""
    thread = client.threads.get(ids["thread_id"])
    return [
        {name: thread[name] for name in ("status", "metadata", "values", "interrupts")},
        client.runs.list(ids["thread_id"]),
        client.threads.get_history(ids["thread_id"]),
        client.assistants.get_versions(ids["assistant_id"]),
        client.http.get(f"/runs/crons/{ids['cron_id']}"),
        client.store.get_item(["grace", "notes"], "note", refresh_ttl=False),
        client.http.post("/interrupts/search", json={"thread_id": ids["thread_id"]}),
    ]


def test_every_endpoint_that_the_console_calls_keeps_to_its_caller(
    guarded: LiveServer, of_grace: dict[str, str]
) -> None:
    """With every method, the caller's own credentials, and ids of somebody else."""
    with httpx.Client(base_url=f"{guarded.url}/team", headers={"x-team-key": "ada"}, timeout=60) as ada:
        document = ada.get("/openapi.json").json()
        tried = operations(document, "/team")
        before = things(as_caller(guarded, "grace"), of_grace)
        for method, path, operation in tried:
            asked = re.sub(r"\{([^}]+)\}", lambda name: of_grace.get(name[1], "0"), path)
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            lists = re.search("/(search|count|namespaces)$", path) is not None
            sent = None if body is None else {} if lists else addressed(body, of_grace)
            with ada.stream(method, asked, json=sent) as response:
                stream = response.headers.get("content-type", "").startswith("text/event-stream")
                text = next(response.iter_text(), "") if stream else response.read().decode()
            said = f"{method} {path}: {response.status_code} {text[:300]}"
            if path.startswith("/assistants") and (method == "GET" or lists or path.endswith("/versions")):
                continue  # assistants are everybody's to read in this project
            assert SECRET not in text, said
            assert response.status_code < 500, said
            if path.startswith("/operator"):
                assert response.status_code == 403, said
            elif lists:
                assert of_grace["thread_id"] not in text and of_grace["cron_id"] not in text, said
            elif "{" in path:
                refused = response.status_code in (403, 404, 409, 422)
                assert refused or (stream and "404" in text), said  # a thread's stream says it in an event
            elif method == "POST":
                assert '"status":"created"' not in text.replace(" ", ""), said  # outcomes of bulk commands
        assert things(as_caller(guarded, "grace"), of_grace) == before
    assert {path for _, path, _ in tried} >= {
        "/threads/{thread_id}",
        "/threads/search",
        "/runs/crons/{cron_id}/fire",
        "/interrupts/respond",
        "/store/items",
        "/operator/dead-letters/drop",
        "/changes",
    }


def test_read_only_mode_hides_what_changes_something(console: Console, guarded: LiveServer) -> None:
    thread = talked(as_caller(guarded, "ada"), "mail ann@example.org hello")
    page = console.open(f"threads/{thread}/travel")
    signed_in(page, "ada")
    expect(page.get_by_role("region", name="State")).to_be_visible()
    for name in ("Run on from here", "Fork into a new thread", "Resume with this answer", "Run with this input"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_pages_for_operators_say_what_they_need(console: Console) -> None:
    page = console.open("health")
    signed_in(page, "ada")
    for view in ("health", "log"):
        page.get_by_role("navigation").get_by_role("link", name=view.title(), exact=True).click()
        expect(page.get_by_role("heading", name=view.title(), exact=True)).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("This needs the permission langlog:operator")
        expect(page.get_by_text("live", exact=True)).to_have_count(0)
        console.check_accessible()


def test_everything_is_behind_the_prefix(guarded: LiveServer) -> None:
    page = httpx.get(f"{guarded.url}/team/console/threads/x")
    assert '<base href="/team/console/">' in page.text
    assert httpx.get(f"{guarded.url}/console/").status_code == 404
    root = httpx.get(f"{guarded.url}/team/", headers={"accept": "text/html"})
    assert root.headers["location"] == "/team/console/"
    said = guarded.tail(1_000)
    assert f"langlog listens on {guarded.url}/team\n" in said
    assert f"console {guarded.url}/team/console/\n" in said


def test_a_store_without_embeddings_says_that_it_cannot_rank(console: Console, guarded: LiveServer) -> None:
    as_caller(guarded, "ada").store.put_item(["ada", "notes"], "mine", {"text": "a note"})
    page = console.open("store?query=note")
    signed_in(page, "ada")
    expect(page.get_by_role("table", name="Items").get_by_text("a note")).to_be_visible()
    expect(page.get_by_text("None of these items has an embedding")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Score")).to_have_count(0)


def test_the_reference_sends_operations_behind_the_prefix(console: Console, guarded: LiveServer) -> None:
    thread = as_caller(guarded, "ada").threads.create()["thread_id"]
    page = console.open("threads")
    signed_in(page, "ada")
    page.get_by_role("navigation").get_by_role("link", name="API").click()
    page.get_by_label("Find an operation").fill("get thread usage")
    page.get_by_role("navigation", name="Operations").get_by_role("button", name=re.compile("storage")).click()
    tried = page.get_by_role("region", name="Try it")
    tried.get_by_label("thread_id").fill(thread)
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("status", name="Response").get_by_text("200")).to_be_visible()


def test_a_server_that_goes_away_and_comes_back_is_followed_again(console: Console, guarded: LiveServer) -> None:
    console.expected += ["ERR_", "500"]
    page = console.open("threads")
    signed_in(page, "ada")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    guarded.stop()
    expect(page.get_by_text("Connection lost")).to_be_visible()
    guarded.start()
    expect(page.get_by_text("Connection lost")).to_have_count(0)
    talked(as_caller(guarded, "ada"), "said after the restart")
    expect(page.get_by_text("said after the restart").first).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
