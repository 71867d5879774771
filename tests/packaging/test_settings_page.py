"""docs/settings.md says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import msgspec
import pytest
from langlog_backbone.process.settings import VARIABLES, SettingError, Settings, read_settings

DOCS = Path(__file__).parents[2] / "docs"


def test_the_settings_page_is_what_its_script_writes() -> None:
    page = runpy.run_path(str(DOCS / "settings_page.py"))["page"]()
    assert (DOCS / "settings.md").read_text() == page, "run python docs/settings_page.py"


def test_every_setting_has_a_variable_and_no_two_share_one() -> None:
    assert set(VARIABLES) == {field.name for field in msgspec.structs.fields(Settings)}
    names = [name for names in VARIABLES.values() for name in names]
    assert len(names) == len(set(names))


def test_an_option_wins_over_a_variable_and_a_variable_over_the_default() -> None:
    assert read_settings({"PORT": "8000"}, port=9000).port == 9000
    assert read_settings({"PORT": "8000"}, port=None).port == 8000
    assert read_settings({"PORT": ""}).port == Settings().port


@pytest.mark.parametrize(("name", "text"), [("PORT", "many"), ("LOG_JSON", "perhaps"), ("LANGLOG_LEASE_SECS", "soon")])
def test_a_variable_that_holds_nonsense_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"{name}='{text}'"):
        read_settings({name: text})
