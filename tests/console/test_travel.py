"""Differences between checkpoints, and going on from one of them: changed, answered, forked, two branches side by side."""

from __future__ import annotations

import re
from collections.abc import Callable

from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import expect

from tests.console.browser import Console
from tests.console.test_run import failed
from tests.console.test_threads import human, talked


def test_a_failed_run_is_run_again_from_its_checkpoint_with_a_changed_state(
    client: SyncLangGraphClient, console: Console
) -> None:
    thread, run = failed(client)
    page = console.open(f"threads/{thread}/runs/{run}")
    page.get_by_role("link", name="Run again from there").click()
    page.get_by_label("fail_at").fill("-1")
    expect(page.get_by_text("changed: fail_at")).to_be_visible()
    console.check_accessible()
    page.get_by_role("button", name="Run on with this change").click()
    expect(page.get_by_role("button", name=re.compile("^finish"))).to_be_visible()
    expect(page.get_by_text("success", exact=True)).to_be_visible()
    assert client.threads.get_state(thread)["values"]["total"] == 7


TYPE_AT_ONCE = """() => {
    new MutationObserver((_, observer) => {
        const field = [...document.querySelectorAll('label')].find(label => label.textContent.startsWith('fail_at'));
        const area = field && field.control;
        if (!area) return;
        observer.disconnect();
        area.value = '-1';
        area.dispatchEvent(new InputEvent('input', {bubbles: true}));
    }).observe(document, {subtree: true, childList: true});
}"""
"""Types into the field in the task that adds it to the page, before the page has been painted."""


def test_what_is_typed_at_once_is_kept(client: SyncLangGraphClient, console: Console) -> None:
    thread, run = failed(client)
    page = console.open(f"threads/{thread}/runs/{run}")
    page.evaluate(TYPE_AT_ONCE)
    page.get_by_role("link", name="Run again from there").click()
    expect(page.get_by_text("changed: fail_at")).to_be_visible()
    expect(page.get_by_label("fail_at")).to_have_value("-1")


def test_what_is_typed_stays_when_newer_checkpoints_are_found(client: SyncLangGraphClient, console: Console) -> None:
    """A lost connection is followed by another read of the checkpoints."""
    console.expected += ["ERR_FAILED"]
    thread = talked(client, "first")
    page = console.open(f"threads/{thread}/travel")
    page.get_by_role("textbox", name="New input").fill("what I was about to say")
    client.runs.wait(thread, "chat", input=human("said by somebody else"))
    page.route(re.compile("/threads/[0-9a-f-]+/runs$"), lambda route: route.abort())
    with page.expect_response("**/history"):
        page.get_by_role("button", name="Run with this input").click()
    expect(page.get_by_role("navigation", name="Checkpoints").get_by_role("link")).to_have_count(
        len(client.threads.get_history(thread, limit=100))
    )
    expect(page.get_by_role("textbox", name="New input")).to_have_value("what I was about to say")


def test_what_is_no_json_is_refused_beside_its_channel(client: SyncLangGraphClient, console: Console) -> None:
    thread, _ = failed(client)
    page = console.open(f"threads/{thread}/travel")
    page.get_by_label("items").fill("[1,")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("button", name="Run on from here")).to_be_disabled()


def test_an_older_checkpoint_is_forked_into_a_thread_of_its_own(client: SyncLangGraphClient, console: Console) -> None:
    thread = talked(client, "one", "two")
    first_end = next(s for s in reversed(client.threads.get_history(thread, limit=50)) if not s["next"])
    page = console.open(f"threads/{thread}/travel?checkpoint={first_end['checkpoint']['checkpoint_id']}")
    page.get_by_role("button", name="Fork into a new thread").click()
    expect(page.get_by_text("You said: one")).to_be_visible()
    expect(page).not_to_have_url(re.compile(thread))
    expect(page.get_by_text("You said: two")).to_have_count(0)


def test_a_question_is_answered_and_two_branches_stand_side_by_side(
    client: SyncLangGraphClient, open_console: Callable[..., Console]
) -> None:
    thread = talked(client, "mail ann@example.org hello")
    asked = client.threads.get_state(thread)["checkpoint"]["checkpoint_id"]
    client.runs.wait(thread, "chat", command={"resume": "yes"})
    allowed = client.threads.get_state(thread)["checkpoint"]["checkpoint_id"]
    console = open_console()
    page = console.open(f"threads/{thread}/travel?checkpoint={asked}")
    page.get_by_role("textbox", name=re.compile("^Answer")).fill("no")
    page.get_by_role("button", name="Resume with this answer").click()
    expect(page.get_by_text("success", exact=True)).to_be_visible()
    refused = client.threads.get_state(thread)["checkpoint"]["checkpoint_id"]
    page.goto(f"{console.url}/console/threads/{thread}/travel?checkpoint={allowed}&beside={refused}")
    expect(page.get_by_text("Done: sent to ann@example.org")).to_be_visible()
    expect(page.get_by_text("Done: The human did not allow it.")).to_be_visible()
    console.check_accessible()
    page.get_by_role("link", name="What differs").click()
    expect(page.get_by_role("region", name="Changes")).to_contain_text("messages[")


def test_two_checkpoints_are_compared_in_both_themes(
    client: SyncLangGraphClient, open_console: Callable[..., Console]
) -> None:
    thread = talked(client, "one")
    client.threads.update_state(thread, {"messages": [{"role": "user", "content": "added by hand"}]}, as_node="talk")
    message = client.threads.get_state(thread)["values"]["messages"][0]
    changed = {**message, "content": "two words"}
    client.threads.update_state(thread, {"messages": [{**changed, "role": "user"}]}, as_node="talk")
    for scheme in ("light", "dark"):
        console = open_console(color_scheme=scheme)
        page = console.open(f"threads/{thread}/diff")
        expect(page.get_by_role("region", name="Changes")).to_contain_text("messages[0].content")
        expect(page.locator(".text-diff del")).to_have_text("one")
        expect(page.get_by_role("region", name="Bytes by channel")).to_contain_text("messages")
        console.check_accessible()


def test_input_is_given_from_any_checkpoint(client: SyncLangGraphClient, console: Console) -> None:
    thread = talked(client, "one")
    page = console.open(f"threads/{thread}/travel")
    page.get_by_role("textbox", name=re.compile("^New input")).fill("said by hand")
    page.get_by_role("button", name="Run with this input").click()
    expect(page.get_by_text("success", exact=True)).to_be_visible()
    messages = client.threads.get_state(thread)["values"]["messages"]
    assert [one["content"] for one in messages][-2:] == ["said by hand", "You said: said by hand"]
    client.runs.wait(thread, "chat", input=human("more"))
