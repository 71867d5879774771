"""Every block of the documentation parses, and refers only to existing names. No server is needed: `test_pages` executes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.site import http_api

from .around import AROUND
from .blocks import ROOT, blocks, inline_commands, pages
from .checks import check, commands_of_shell, resolves

WORDS = {"", "skip", "shown", "served", "exit", "with", "fits"}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_the_page_is_what_it_claims_to_be(page: Path) -> None:
    schemas = http_api.document()["components"]["schemas"]
    for block in blocks(page):
        check(block, schemas)
    for text in inline_commands(page):
        for command in commands_of_shell(text.replace("…", "x")):
            resolves(command)


def test_a_block_that_is_not_run_says_why() -> None:
    for page in pages():
        for block in blocks(page):
            assert block.how.partition(" ")[0] in WORDS, f"{block}: {block.how!r}"
            if (reason := block.says("skip")) is not None:
                assert len(reason.split()) > 2, f"{block}: say why it is not run"
            if (other := block.says("shown")) is not None:
                assert (ROOT / other.removeprefix("by ").partition(":")[0]).exists(), f"{block}: {other}"
            if (around := block.says("with")) is not None:
                assert around in AROUND, f"{block}: {around}"
