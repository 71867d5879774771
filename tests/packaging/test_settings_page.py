"""docs/reference/settings.md matches the code."""

from __future__ import annotations

import runpy
from pathlib import Path

import msgspec
import pytest
from langlog_backbone.process.environment import FILE_SUFFIX, SECRETS, VARIABLES, read_settings
from langlog_backbone.process.setting_files import SettingError
from langlog_backbone.process.settings import Settings
from langlog_executor.worker.pool import environment

DOCS = Path(__file__).parents[2] / "docs"


def test_the_settings_page_is_what_its_script_writes() -> None:
    page = runpy.run_path(str(DOCS / "settings_page.py"))["page"]()
    assert (DOCS / "reference" / "settings.md").read_text() == page, "run python docs/settings_page.py"


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


@pytest.mark.parametrize("name", [name for field in sorted(SECRETS) for name in VARIABLES[field]])
def test_a_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("first, 2nd of 16\n")
    (field,) = (field for field, names in VARIABLES.items() if name in names)
    settings = read_settings({name + FILE_SUFFIX: str(file)})
    assert getattr(settings, field) == "first, 2nd of 16"
    worker = {name + FILE_SUFFIX: str(file), **environment(settings)}
    assert getattr(read_settings(worker), field) == "first, 2nd of 16", "worker processes get the value"


def test_no_secret_without_a_file_variable() -> None:
    words = ("password", "secret", "key", "token", "headers", "database_uri", "redis_uri")
    named = {field for field in VARIABLES if any(word in field for word in words) and not field.endswith("_file")}
    assert named - {"keys_schema"} == SECRETS


def test_a_secret_file_that_gives_nothing_is_named_and_its_text_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"top\xffsecret")
    (tmp_path / "nul").write_bytes(b"top\0secret")
    (tmp_path / "long").write_bytes(b"top-secret" * 10_000)
    why = {"missing": "No such file", "empty": "is empty", "bytes": "not UTF-8", "nul": "NUL", "long": "more than"}
    for name, reason in why.items():
        with pytest.raises(SettingError) as raised:
            read_settings({"LANGLOG_SECRET_FILE": str(tmp_path / name)})
        said = str(raised.value)
        assert said.startswith("LANGLOG_SECRET_FILE: ") and reason in said and "\n" not in said and "top" not in said
        assert str(tmp_path / name) in said


def test_a_secret_in_a_variable_and_in_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text("postgresql://from-file")
    file = str(tmp_path / "uri")
    for env in (
        {"DATABASE_URI": "postgresql://x", "DATABASE_URI_FILE": file},
        {"POSTGRES_URI": "postgresql://x", "DATABASE_URI_FILE": file},
        {"POSTGRES_URI_FILE": file, "DATABASE_URI_FILE": file},
    ):
        with pytest.raises(SettingError, match="DATABASE_URI_FILE"):
            read_settings(env)
    assert read_settings({"DATABASE_URI": "", "DATABASE_URI_FILE": file}).database_uri == "postgresql://from-file"
