"""Open questions of all threads in one place: read, answered by form, by decision, in words, and many at once."""

from __future__ import annotations

import re
from typing import Any

from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import expect

from tests.console.browser import Console


def asked(client: SyncLangGraphClient, graph: str, **input: Any) -> str:
    """A thread whose run waits for an answer."""
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, graph, input=input)
    assert client.threads.get(thread)["status"] == "interrupted"
    return thread


def answers(client: SyncLangGraphClient, thread: str) -> list[Any]:
    """Return the answers that the graph received, once its run has ended."""
    client.runs.join(thread, client.runs.list(thread)[0]["run_id"])
    return client.threads.get_state(thread)["values"]["answers"]


def test_a_question_is_answered_by_the_form_of_its_schema(console: Console, client: SyncLangGraphClient) -> None:
    thread = asked(client, "refunds")
    page = console.open("inbox?graph=refunds")
    question = page.get_by_role("article", name="Question")
    expect(question.get_by_text("How much do we refund?").first).to_be_visible()
    question.get_by_role("spinbutton", name="Amount").fill("900")
    expect(question.get_by_text("amount must be at most 500")).to_be_visible()
    question.get_by_role("spinbutton", name="Amount").fill("120")
    question.get_by_role("textbox", name="Reason").fill("broken")
    console.check_accessible()
    question.get_by_role("button", name="Answer").click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    assert answers(client, thread) == [{"amount": 120, "reason": "broken"}]


def test_tool_calls_are_approved_edited_or_rejected(console: Console, client: SyncLangGraphClient) -> None:
    thread = asked(client, "reviews")
    page = console.open("inbox?graph=reviews")
    call = page.get_by_role("group", name="send_email")
    expect(call.get_by_text("Send this mail?")).to_be_visible()
    call.get_by_role("radio", name="edit").check()
    call.get_by_label("Arguments of send_email as JSON").fill('{"to": "bob@example.org"}')
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    edited = {"type": "edit", "edited_action": {"name": "send_email", "args": {"to": "bob@example.org"}}}
    assert answers(client, thread) == [{"decisions": [edited]}]


def test_a_question_that_comes_while_one_looks_is_answered_in_words(
    console: Console, client: SyncLangGraphClient
) -> None:
    page = console.open("inbox?graph=asks")
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    thread = asked(client, "asks", question="What <b>colour</b>?")
    question = page.get_by_role("article", name="Question")
    expect(question.get_by_text("What <b>colour</b>?")).to_be_visible()
    question.get_by_label("Answer", exact=True).fill("blue")
    question.get_by_role("button", name="Answer with this text").click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    assert answers(client, thread) == ["blue"]


def test_a_question_that_somebody_else_answers_is_not_replaced_by_the_next(
    console: Console, client: SyncLangGraphClient
) -> None:
    """A click meant for one question must not answer another in its place."""
    read, next_one = (asked(client, "asks", question=f"Question {n}?") for n in (1, 2))
    page = console.open("inbox?graph=asks")
    question = page.get_by_role("article", name="Question")
    expect(question.get_by_text("Question 1?")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    client.runs.wait(read, "asks", command={"resume": "by somebody else"})
    expect(page.get_by_text("This question has been answered")).to_be_visible()
    expect(question).to_have_count(0)
    page.get_by_role("button", name="Show the oldest").click()
    expect(question.get_by_text("Question 2?")).to_be_visible()
    question.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    assert answers(client, next_one) == [True]


def test_an_answer_that_is_refused_for_what_it_says_is_kept(console: Console, client: SyncLangGraphClient) -> None:
    thread = asked(client, "asks", question="In a few words?")
    page = console.open("inbox?graph=asks")
    refusal = {"status": "refused", "code": 422, "detail": "The answer is too long", "thread_id": thread}
    page.route("**/interrupts/respond", lambda route: route.fulfill(json=[{**refusal, "interrupt_id": "1"}]))
    question = page.get_by_role("article", name="Question")
    question.get_by_label("Answer", exact=True).fill("in many words")
    question.get_by_role("button", name="Answer with this text").click()
    expect(page.get_by_text("Not answered: The answer is too long")).to_be_visible()
    expect(question.get_by_label("Answer", exact=True)).to_have_value("in many words")
    page.unroute("**/interrupts/respond")
    question.get_by_role("button", name="Answer with this text").click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    assert answers(client, thread) == ["in many words"]


def test_a_question_whose_answer_was_withdrawn_is_open_again(console: Console, client: SyncLangGraphClient) -> None:
    """A run that is cancelled before it begins leaves the question open, as it was asked."""
    thread = asked(client, "asks", question="Once more?")
    page = console.open("inbox?graph=asks")
    taken = {"status": "created", "run_id": "0" * 32, "thread_id": thread, "interrupt_id": "1"}
    page.route("**/interrupts/respond", lambda route: route.fulfill(json=[taken]))
    question = page.get_by_role("article", name="Question")
    question.get_by_label("Answer", exact=True).fill("withdrawn")
    question.get_by_role("button", name="Answer with this text").click()
    expect(page.get_by_text("Answered: the run goes on")).to_be_visible()
    expect(question.get_by_label("Answer", exact=True)).to_have_value("")
    page.unroute("**/interrupts/respond")
    question.get_by_label("Answer", exact=True).fill("for good")
    question.get_by_role("button", name="Answer with this text").click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    assert answers(client, thread) == ["for good"]


def test_many_questions_are_answered_at_once(console: Console, client: SyncLangGraphClient) -> None:
    threads = [asked(client, "asks", question=f"Number {n}?") for n in range(3)]
    page = console.open("inbox?graph=asks")
    questions = page.get_by_role("list", name="Open questions").get_by_role("listitem")
    expect(questions).to_have_count(3)
    for number in range(2):
        page.get_by_role("checkbox", name=f"Choose Number {number}?").check()
    page.get_by_role("button", name="Reject all").click()
    expect(questions).to_have_count(1)
    assert [answers(client, thread) for thread in threads[:2]] == [[False], [False]]
    questions.first.get_by_role("button").click()
    expect(page).to_have_url(re.compile("interrupt="))
    page.get_by_role("article", name="Question").get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Nothing waits for a person")).to_be_visible()
    assert answers(client, threads[2]) == [True]


def test_answers_are_listed_with_who_gave_them_and_what_was_asked(
    console: Console, client: SyncLangGraphClient
) -> None:
    page = console.open("inbox?graph=asks&show=answered")
    thread = asked(client, "asks", question="Which <i>number</i>?")
    client.runs.wait(thread, "asks", command={"resume": "<b>seven</b>"})
    answer = page.get_by_role("list", name="Answers").get_by_role("listitem").filter(has_text="<b>seven</b>")
    expect(answer).to_contain_text("Somebody answered")
    answer.get_by_text("What was asked").click()
    expect(answer.get_by_text("Which <i>number</i>?").first).to_be_visible()
    console.check_accessible()
    page.get_by_label("Graph").select_option("reviews")
    expect(answer).to_have_count(0)
    page.get_by_label("Show").select_option("open questions")
    expect(page).not_to_have_url(re.compile("show="))
