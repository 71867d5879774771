"""The API's reference: found, read and tried from the page."""

from __future__ import annotations

import re

import requests
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import expect

from tests.console.browser import Console
from tests.console.test_access import signed_in
from tests.stack.server import LiveServer


def test_docs_sends_browsers_to_the_page_and_everybody_else_to_the_plain_one(server: LiveServer) -> None:
    browser = requests.get(f"{server.url}/docs", headers={"accept": "text/html"}, allow_redirects=False, timeout=60)
    assert (browser.status_code, browser.headers["location"]) == (307, "/console/docs")
    plain = requests.get(f"{server.url}/docs", headers={"accept": "*/*"}, allow_redirects=False, timeout=60)
    assert plain.status_code == 200 and "openapi.json" in plain.text


def test_an_operation_is_found_read_and_tried(console: Console, client: SyncLangGraphClient) -> None:
    thread = client.threads.create(metadata={"user": "ada"})["thread_id"]
    page = console.open("docs")
    page.get_by_label("Find an operation").fill("get thread usage")
    page.get_by_role("navigation", name="Operations").get_by_role("button", name=re.compile("storage")).click()
    article = page.get_by_role("article", name="Get thread storage usage")
    expect(article.get_by_role("region", name="Parameters").get_by_text("Id of the thread")).to_be_visible()
    console.check_accessible()
    tried = article.get_by_role("region", name="Try it")
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("alert")).to_contain_text("thread_id is missing")
    tried.get_by_label("thread_id").fill(thread)
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("status", name="Response").get_by_text("200")).to_be_visible()


def test_a_response_is_not_left_to_the_next_caller(console: Console, client: SyncLangGraphClient) -> None:
    client.threads.create(metadata={"user": "ada"})
    page = console.open("docs?find=search+threads")
    page.get_by_role("navigation", name="Operations").get_by_role("button", name="Search threads").first.click()
    tried = page.get_by_role("region", name="Try it")
    tried.get_by_label("Body").fill('{"metadata": {"user": "ada"}}')
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("status", name="Response").get_by_text("200")).to_be_visible()
    page.get_by_role("button", name="Credentials").click()
    signed_in(page, "grace")
    expect(tried.get_by_role("status", name="Response")).to_have_count(0)
    expect(tried.get_by_label("Body")).to_have_value('{"metadata": {"user": "ada"}}')


def test_a_body_begins_with_its_example_and_a_refusal_is_shown(console: Console) -> None:
    page = console.open("docs?find=create+thread")
    page.get_by_role("navigation", name="Operations").get_by_role("button", name="Create thread").first.click()
    tried = page.get_by_role("region", name="Try it")
    expect(tried.get_by_label("Body")).to_have_value(re.compile("thread_id"))
    tried.get_by_label("Body").fill('{"thread_id": "no uuid"}')
    console.expected.append("/threads)")
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("status", name="Response").get_by_text("422")).to_be_visible()
