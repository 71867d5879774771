"""Main tasks of the console, on either log, without and with a project's authentication and mount prefix: a first answer, a failed run
understood and run again, an approval, a fork, a live timeline, a server that becomes unavailable and returns."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Browser, Page, expect

from tests.console.browser import Console
from tests.console.conftest import PROJECT
from tests.console.test_access import PROJECT as GUARDED
from tests.console.test_access import as_caller, signed_in
from tests.console.test_inbox import answers, asked
from tests.console.test_run import failed
from tests.console.test_threads import human, talked
from tests.stack.server import LiveServer, kafka_env

KEY = "ada"


class Guarded(Console):
    """A console whose caller sets the header that the project requires, after each load of the document."""

    def open(self, view: str = "") -> Page:
        self.expected += ["401"]
        page = super().open(view)
        signed_in(page, KEY)
        expect(page.get_by_role("dialog", name="Credentials")).to_have_count(0)
        return page


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        "sqlite-guarded",
        pytest.param("kafka", marks=pytest.mark.kafka),
        pytest.param("kafka-guarded", marks=pytest.mark.kafka),
    ],
)
def variant(request: pytest.FixtureRequest) -> str:
    """The log, and whether the project has an authentication of its own and a mount prefix."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(
    built: None, variant: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """Empty at first."""
    env = kafka_env(request.getfixturevalue("kafka")) if variant.startswith("kafka") else {}
    project = GUARDED if variant.endswith("guarded") else PROJECT
    with LiveServer(project, tmp_path_factory.mktemp(f"console-{variant}"), env).up() as live:
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer, variant: str) -> SyncLangGraphClient:
    return as_caller(server, KEY) if variant.endswith("guarded") else get_sync_client(url=server.url)


@pytest.fixture
def console(browser: Browser, server: LiveServer, variant: str) -> Iterator[Console]:
    made = Guarded(browser, f"{server.url}/team") if variant.endswith("guarded") else Console(browser, server.url)
    yield made
    made.close()


def test_from_an_empty_server_to_a_streamed_answer(client: SyncLangGraphClient, console: Console) -> None:
    assert client.threads.search() == [], "this test comes first"
    chat = client.assistants.search(graph_id="chat")[0]["assistant_id"]
    page = console.open()
    expect(page.get_by_role("heading", name="No thread yet")).to_be_visible()
    console.check_accessible()
    page.get_by_role("main").get_by_role("link", name="Try one here").click()
    page.get_by_role("combobox", name="Assistant").select_option(chat)
    page.get_by_label("Message", exact=True).fill("hello")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("log").get_by_text("You said: hello")).to_be_visible()
    expect(page.get_by_role("region", name="Events").get_by_role("tab", name="updates")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Threads").click()
    row = page.get_by_role("row").filter(has_text="You said: hello")
    expect(row).to_contain_text("idle")
    row.click()
    expect(page.get_by_role("log", name="Conversation").get_by_text("You said: hello")).to_be_visible()


def test_a_failed_run_is_understood_in_three_clicks_and_run_again_changed_in_two_more(
    client: SyncLangGraphClient, console: Console
) -> None:
    thread, _ = failed(client)
    page = console.open("threads?status=error")
    page.get_by_role("row").filter(has_text=thread[-6:]).click()
    page.get_by_role("link", name="What happened").click()
    failure = page.get_by_role("region", name="Failure")
    expect(failure).to_contain_text("Node add failed: ValueError item 4 cannot be added")
    expect(failure.get_by_role("link", name="State before it")).to_have_attribute("href", re.compile("checkpoint="))
    failure.get_by_text("Its input").click()
    expect(failure.get_by_text("fail_at")).to_be_visible()

    failure.get_by_role("link", name="Run again from there").click()
    page.get_by_label("fail_at").fill("-1")
    page.get_by_role("button", name="Run on with this change").click()
    expect(page.get_by_role("button", name=re.compile("^finish"))).to_be_visible()
    expect(page.get_by_text("success", exact=True)).to_be_visible()
    assert client.threads.get_state(thread)["values"]["total"] == 7


def test_an_approval_that_comes_while_one_looks_is_given_in_the_inbox(
    client: SyncLangGraphClient, console: Console, variant: str
) -> None:
    page = console.open("inbox?graph=asks")
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    thread = asked(client, "asks", question="May it go on?")
    question = page.get_by_role("article", name="Question")
    expect(question.get_by_text("May it go on?").first).to_be_visible()
    question.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    assert answers(client, thread) == [True]
    page.get_by_label("Show").select_option("answers")
    answer = page.get_by_role("list", name="Answers").get_by_role("listitem").first
    expect(answer).to_contain_text("ada answered" if variant.endswith("guarded") else "Somebody answered")
    answer.get_by_text("What was asked").click()
    expect(answer.get_by_text("May it go on?").first).to_be_visible()


def test_an_event_is_on_the_timeline_as_it_comes(client: SyncLangGraphClient, console: Console) -> None:
    """By the stream that is open when it is appended: the page sends no request for it."""
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "chat", input=human("later"), after_seconds=600)["run_id"]
    page: Page = console.open(f"threads/{thread}/runs/{run}")
    expect(page.locator(".bar.open")).to_have_count(1)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    client.runs.cancel(thread, run, wait=True)
    expect(page.locator(".bar.open")).to_have_count(0)
    expect(page.locator(".bar").first).to_be_visible()
    assert [url for url in sent if "/events" in url] == []


def test_an_older_checkpoint_is_forked(client: SyncLangGraphClient, console: Console) -> None:
    thread = talked(client, "one", "two")
    first_end = next(s for s in reversed(client.threads.get_history(thread, limit=50)) if not s["next"])
    page = console.open(f"threads/{thread}/travel?checkpoint={first_end['checkpoint']['checkpoint_id']}")
    page.get_by_role("button", name="Fork into a new thread").click()
    expect(page.get_by_text("You said: one")).to_be_visible()
    expect(page).not_to_have_url(re.compile(thread))
    expect(page.get_by_text("You said: two")).to_have_count(0)


def test_failed_runs_are_run_again_together(client: SyncLangGraphClient, console: Console) -> None:
    ids = [failed(client)[1] for _ in range(2)]
    page = console.open("runs?status=failed")
    for id in ids:
        page.get_by_role("checkbox", name=f"Choose run {id}").check()
    page.get_by_role("button", name="Run 2 chosen runs again").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_role("dialog", name="2 runs of 2 go again")).to_be_visible()
    retried = client.http.post("/runs/search", json={"metadata": {"retry_of": ids[0]}})
    assert len(retried) == 1


def test_a_thread_of_many_messages_is_shown(client: SyncLangGraphClient, console: Console) -> None:
    thread = client.threads.create(graph_id="chat")["thread_id"]
    messages = [{"role": ("user", "assistant")[n % 2], "content": f"message **{n}**"} for n in range(2000)]
    client.threads.update_state(thread, {"messages": messages}, as_node="talk")
    page = console.open(f"threads/{thread}")
    expect(page.get_by_text("message 1999")).to_be_visible()
    assert page.locator("article").count() < 300


def test_another_callers_things_are_not_shown(server: LiveServer, variant: str, console: Console) -> None:
    if not variant.endswith("guarded"):
        pytest.skip("everybody sees everything without authentication")
    secret = talked(as_caller(server, "grace"), "a secret of Grace's")
    console.expected += ["404"]
    page = console.open("threads")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    talked(as_caller(server, KEY), "Ada's own")
    expect(page.get_by_text("Ada's own").first).to_be_visible()
    expect(page.get_by_text("secret")).to_have_count(0)
    page = console.open(f"threads/{secret}")
    expect(page.get_by_role("alert").first).to_contain_text(re.compile("not found", re.IGNORECASE))


def test_a_server_that_goes_away_and_comes_back_is_followed_again(
    client: SyncLangGraphClient, server: LiveServer, console: Console
) -> None:
    """The last one: the others need the server."""
    console.expected += ["ERR_", "500", "503"]
    page = console.open("threads")
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    server.stop()
    expect(page.get_by_text("Connection lost")).to_be_visible()
    server.start()
    expect(page.get_by_text("Connection lost")).to_have_count(0)
    talked(client, "said after the restart")
    expect(page.get_by_text("said after the restart").first).to_be_visible()
