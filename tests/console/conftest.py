"""One server and one browser for all tests of the console. All tests are synchronous: Playwright has an event loop of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import Browser, expect, sync_playwright

from tests.console.browser import LIMIT_MS, Console, launch
from tests.stack.built import node_build
from tests.stack.node_package import missing, node_missing
from tests.stack.server import LiveServer

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@pytest.fixture(scope="package")
def built() -> None:
    """The console's files are those of its sources, and the packages of development are there."""
    if (reason := node_missing()) is not None:
        missing(reason)
    console = node_build().CONSOLE
    with console.alone():
        console.packages(dev=True)
    console.build()


@pytest.fixture(scope="package")
def server(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(PROJECT, tmp_path_factory.mktemp("console")).up() as live:
        yield live


@pytest.fixture(scope="package")
def client(server: LiveServer) -> SyncLangGraphClient:
    return get_sync_client(url=server.url)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=LIMIT_MS)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_console(browser: Browser, server: LiveServer) -> Iterator[Callable[..., Console]]:
    """Makes a page of its own on each call, on this server or the one named by ``url``; all are checked at the end."""
    made: list[Console] = []

    def make(url: str = server.url, **context: Any) -> Console:
        made.append(Console(browser, url, **context))
        return made[-1]

    yield make
    for console in made:
        console.close()


@pytest.fixture
def console(open_console: Callable[..., Console]) -> Console:
    return open_console()
