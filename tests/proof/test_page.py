"""The page of what was tried is the one that its figures make."""

from __future__ import annotations

from tests.proof.__main__ import PAGE, page


def test_the_page_is_written_from_its_figures() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.proof"
