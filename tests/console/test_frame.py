"""The frame: addresses, keys, themes, prompts when the server refuses, and a server that becomes unavailable and returns."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.console.browser import ROOT, Console
from tests.stack.built import node_build
from tests.stack.server import LiveServer

BUDGET = 100_000
"""Bytes of what the first view loads, gzipped."""


def test_the_sources_are_typed_strictly_and_their_pure_parts_hold(built: None) -> None:
    for command in (["npm", "run", "--silent", "check"], ["npm", "run", "--silent", "test"]):
        done = subprocess.run(command, cwd=ROOT / "console", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_view_loads_less_than_its_budget(console: Console) -> None:
    """Counted in the browser, of what travelled: a page of an old manifest would not show it."""
    sizes: list[int] = []
    cdp = console.page.context.new_cdp_session(console.page)
    cdp.send("Network.enable")
    files: set[str] = set()
    cdp.on(
        "Network.responseReceived",
        lambda event: files.add(event["requestId"]) if "/console/" in event["response"]["url"] else None,
    )
    cdp.on(
        "Network.loadingFinished",
        lambda event: sizes.append(event["encodedDataLength"]) if event["requestId"] in files else None,
    )
    page = console.open("threads")
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    assert 5_000 < sum(sizes) < BUDGET
    manifest = (node_build().CONSOLE.out / "manifest.json").read_text()
    assert int(re.findall(r'"first_view_gzipped_bytes": (\d+)', manifest)[0]) < BUDGET


def test_an_address_is_a_view_and_back_goes_back(console: Console) -> None:
    page = console.open("threads?status=error")
    expect(page.get_by_label("Status")).to_have_value("error")
    page.get_by_label("Status").select_option("idle")
    expect(page).to_have_url(re.compile(r"status=idle"))
    page.goto(f"{console.url}/console/no/such/page")
    expect(page.get_by_text("There is no page at this address")).to_be_visible()
    page.get_by_role("link", name="Go to the threads").click()
    expect(page).to_have_url(f"{console.url}/console/threads")
    page.go_back()
    expect(page.get_by_text("There is no page at this address")).to_be_visible()


def test_everything_is_reached_by_keys(console: Console) -> None:
    page = console.open("no/such/page")
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page).to_have_url(f"{console.url}/console/threads")
    expect(page.get_by_label("Metadata")).to_be_visible()  # the page's code is loaded when it is opened
    page.keyboard.press("/")
    expect(page.get_by_label("Metadata")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Threads").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Page or thread id")).to_be_focused()
    page.keyboard.type("thr")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_skip_link_is_the_first_stop_and_leads_to_the_page(console: Console) -> None:
    page = console.open()
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_is_accessible_in_both_themes(open_console: Callable[..., Console], scheme: str) -> None:
    console = open_console(color_scheme=scheme)
    page = console.open()
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    console.check_accessible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    console.check_accessible()


def test_a_chosen_theme_stays_when_the_page_is_loaded_again(console: Console) -> None:
    page = console.open()
    button = page.get_by_role("button", name=re.compile("Theme"))
    button.click()
    button.click()
    expect(page.locator("html[data-theme=dark]")).to_have_count(1)
    page.reload()
    expect(page.locator("html[data-theme=dark]")).to_have_count(1)
    expect(button).to_have_text(re.compile("dark"))


def test_a_server_that_goes_away_and_comes_back_is_noticed(
    open_console: Callable[..., Console], server: LiveServer
) -> None:
    """The server is stopped by a signal, so that its connections stay and nothing is answered; the browser is cut off instead."""
    console = open_console()
    console.expected.append("ERR_INTERNET_DISCONNECTED")
    page: Page = console.open()
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("Connection lost")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text("Connection is back")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
