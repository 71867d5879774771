"""Texts of models that Markdown's parser would take seconds for: they are shown as they are, with the reason, and hold no page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from langgraph_sdk.client import SyncLangGraphClient
from playwright.sync_api import expect

from tests.console.browser import Console
from tests.console.test_threads import talked

COSTLY = {
    **dict.fromkeys(
        ("!", "![", "<", "`` ` ", "a *b ", "*_a"), "it has too many signs in one paragraph, or too many paragraphs"
    ),
    " ": "it has a run of a thousand spaces",
    "> ": "its quotes or lists are nested too deep",
    "- ": "its quotes or lists are nested too deep",
}
CHEAP = {"| a ": ".markdown", "a_b ": ".markdown", "word ": ".markdown strong", "- a\n": ".markdown li"}


@pytest.mark.parametrize("piece", COSTLY)
def test_a_costly_text_is_shown_as_it_is_with_the_reason(
    client: SyncLangGraphClient, console: Console, tmp_path: Path, piece: str
) -> None:
    said = tmp_path / "said.json"
    said.write_text(json.dumps(f"**first**\n\n{piece * (39_000 // len(piece))}"))
    page = console.open(f"threads/{talked(client, f'say {said}')}")
    article = page.locator("article.ai")
    expect(article.get_by_text(f"Shown without its formatting: {COSTLY[piece]}.")).to_be_visible()
    expect(article.get_by_text("**first**")).to_be_visible()
    expect(article.locator(".markdown")).to_have_count(0)


@pytest.mark.parametrize("piece", CHEAP)
def test_a_long_text_that_costs_little_is_drawn(
    client: SyncLangGraphClient, console: Console, tmp_path: Path, piece: str
) -> None:
    said = tmp_path / "said.json"
    said.write_text(json.dumps(f"**first**\n\n{piece * (900 if '_' in piece else 39_000 // len(piece))}"))
    page = console.open(f"threads/{talked(client, f'say {said}')}")
    expect(page.locator("article.ai").locator(CHEAP[piece]).first).to_be_visible()
    expect(page.locator("article.ai .markdown strong", has_text="first")).to_be_visible()
    expect(page.get_by_text("Shown without its formatting")).to_have_count(0)
