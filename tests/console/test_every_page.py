"""Every page with content: accessible in both themes, whole on a narrow screen, and usable without a mouse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from playwright.sync_api import Page, expect

from tests.console.browser import Console
from tests.console.conftest import PROJECT
from tests.console.pictures import PICTURES, seed
from tests.stack.server import LiveServer

WIDTHS = (1280, 700)
STOPS_MOST = 250
"""Presses of Tab on one page, at most; long pages are left after these."""
FOCUSED = """() => {
    const element = document.activeElement;
    if (element === null || element === document.body) return null;
    const after = getComputedStyle(element, '::after'), shown = getComputedStyle(element), box = element.getBoundingClientRect();
    const rect = element.matches('g.node') ? getComputedStyle(element.querySelector('rect')) : null;
    const marked = [shown, after].some(style => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0)
        || (rect !== null && parseFloat(rect.strokeWidth) > 2)
        || element.id === 'main' || element.tagName === 'MAIN';
    const inView = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    element.__visited = true;
    return {what: element.outerHTML.slice(0, 160), marked, inView, first: element === document.querySelector('.skip')};
}"""
"""The focused element, and whether its focus is visible. Nodes of the graph's drawing are marked by their stroke."""
MISSED = """() => [...document.querySelectorAll('#main a[href], #main button, #main input, #main select, #main textarea, #main summary')]
    .filter(one => !one.__visited && !one.disabled && one.tabIndex >= 0 && one.checkVisibility({visibilityProperty: true}))
    .filter(one => one.type !== 'radio')
    .map(one => one.outerHTML.slice(0, 160))"""
TOO_WIDE = """() => {
    const overflow = document.documentElement.scrollWidth - innerWidth;
    const lost = [...document.querySelectorAll('#main .page-head button, #main .page-head a, .side a, .side button')]
        .filter(one => { const box = one.getBoundingClientRect(); return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1); })
        .map(one => one.outerHTML.slice(0, 120));
    return {overflow, lost};
}"""


@pytest.fixture(scope="module")
def filled(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, dict[str, str]]]:
    """A server of its own, with what the pictures show."""
    with LiveServer(PROJECT, tmp_path_factory.mktemp("every-page")).up() as live:
        yield live, seed(get_sync_client(url=live.url))


@pytest.fixture(params=PICTURES, ids=[name for name, _, _ in PICTURES])
def opened(
    request: pytest.FixtureRequest, filled: tuple[LiveServer, dict[str, str]], open_console: Callable[..., Console]
) -> Callable[..., Console]:
    """Opens the page, shown whole."""
    _, address, shown = request.param
    server, names = filled

    def open(width: int = 1280, **context: Any) -> Console:
        console = open_console(server.url, **context)
        console.expected.append("503")  # on a slow machine a page may have to ask once more, which it does by itself
        console.page.set_viewport_size({"width": width, "height": 800})
        shown(console.open(address.format(**names)))
        return console

    return open


def test_it_is_accessible_in_both_themes_and_loses_nothing_where_it_is_narrow(opened: Callable[..., Console]) -> None:
    for scheme in ("light", "dark"):
        console = opened(color_scheme=scheme)
        for width in WIDTHS:
            console.page.set_viewport_size({"width": width, "height": 800})
            console.check_accessible()
            found = console.page.evaluate(TOO_WIDE)
            assert found == {"overflow": found["overflow"], "lost": []} and found["overflow"] <= 0, (width, found)
        if scheme == "light":
            first = console.page.locator("#main [role=cell]").first
            if first.count():
                assert (first.bounding_box() or {"width": 0})["width"] > 10, "the first column is lost"


def test_tab_leads_to_everything_and_shows_where_it_is(opened: Callable[..., Console]) -> None:
    page = opened().page
    # what was pressed to show the page must not be where the walk begins
    page.evaluate(
        "() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex'); }"
    )
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["first"], "the skip link comes first"
    before = ""
    for _ in range(STOPS_MOST):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None:  # round the end of the page
            break
        assert stop["marked"], f"the focus is not seen on {stop['what']}"
        assert stop["inView"], f"the focus is out of view on {stop['what']}"
        before = stop["what"]
    else:
        pytest.skip(f"more than {STOPS_MOST} stops, the last one {before}")
    assert page.evaluate(MISSED) == []


def focus_a_row(page: Page) -> None:
    """Focus a row by the key for the next row, once the page handles it."""
    while not page.locator(".whole-row:focus").count():
        page.keyboard.press("j")
        page.wait_for_timeout(50)


def test_rows_open_by_enter_and_panes_close_by_escape(
    filled: tuple[LiveServer, dict[str, str]], open_console: Callable[..., Console]
) -> None:
    server, _ = filled
    page = open_console(server.url).open("log?type=run.")
    expect(page.get_by_role("row")).not_to_have_count(1)
    focus_a_row(page)
    page.keyboard.press("Enter")
    pane = page.get_by_role("complementary", name="Record")
    expect(pane).to_be_visible()
    page.keyboard.press("Escape")
    expect(pane).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile("/console/runs$"))
    expect(page.get_by_role("row")).not_to_have_count(1)
    focus_a_row(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Timeline").first).to_be_visible()


def test_dialogs_keep_the_focus_and_give_it_back(
    filled: tuple[LiveServer, dict[str, str]], open_console: Callable[..., Console]
) -> None:
    server, _ = filled
    page = open_console(server.url).open("crons")
    delete = page.get_by_role("button", name="Delete")
    delete.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement.closest('dialog') !== null || document.activeElement === document.body"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(delete).to_be_focused()


def test_what_is_picked_for_the_pictures_covers_every_page(built: None) -> None:
    pages = {folder.name for folder in (Path(__file__).parents[2] / "console/src/pages").iterdir() if folder.is_dir()}
    shown = {name for name, _, _ in PICTURES}
    assert pages == shown, json.dumps(sorted(pages ^ shown))
