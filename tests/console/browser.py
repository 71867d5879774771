"""The console in a real browser, watched: whatever goes wrong on the page fails the test that opened it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request

from tests.stack.node_package import missing

ROOT = Path(__file__).parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT_MS = 60_000
"""For one thing to be shown, whatever else the machine does."""
SERIOUS = ("serious", "critical")
VIOLATIONS = "document.addEventListener('securitypolicyviolation', e => (window.__violations ??= []).push(e.violatedDirective + ' ' + e.blockedURI))"


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium; skips if it is missing (in CI that is a failure)."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        missing("no Chromium (Debian: apt install chromium)")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    return playwright.chromium.launch(executable_path=program, args=quiet)


class Console:
    """One page on the console of a server. ``expected``: parts of messages in the page's log that are not failures."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.url = url
        self.expected: list[str] = []
        self._problems: list[str] = []
        self._context = browser.new_context(viewport={"width": 1280, "height": 800}, **context)
        self._context.set_default_timeout(LIMIT_MS)
        self._context.add_init_script(VIOLATIONS)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self._problems.append(f"error: {error}"))
        self.page.on("request", self._asked)

    def open(self, view: str = "") -> Page:
        """Load an address below ``/console/`` and wait for the frame."""
        self.page.goto(f"{self.url}/console/{view}")
        self.page.locator("#main").wait_for()
        return self.page

    def check_accessible(self) -> None:
        """axe finds nothing serious on what is shown. Raises AssertionError with its findings."""
        self.page.evaluate((ROOT / "console/node_modules/axe-core/axe.min.js").read_text())
        result = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{one['id']}: {one['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
            for one in result["violations"]
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]
        assert not serious, "\n".join(serious)

    def close(self) -> None:
        """Raises AssertionError when something went wrong on the page that the test does not expect."""
        try:
            violations = self.page.evaluate("window.__violations ?? []") if self.page.url.startswith("http") else []
        finally:
            self._context.close()
        problems = self._problems + [f"CSP: {one}" for one in violations]
        unexpected = [one for one in problems if not any(part in one for part in self.expected)]
        assert not unexpected, "\n".join(unexpected)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            where = message.location.get("url", "")
            self._problems.append(f"{message.type}: {message.text} ({where})")

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https") and url.netloc != urlsplit(self.url).netloc:
            self._problems.append(f"a request left the server: {request.url[:200]}")
