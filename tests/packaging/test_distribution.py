"""Files that `pip install .` puts on the path."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points, requires
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages() -> list[Path]:
    return [ROOT / x for x in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]


def test_every_import_package_is_in_the_distribution_typed_and_checked() -> None:
    members = {x.parent for x in ROOT.glob("*/langlog*/__init__.py")}
    assert members == set(packages())
    assert all((x / "py.typed").exists() for x in members)
    assert {x.name for x in members} | {"tests", "bench"} == set(PROJECT["tool"]["mypy"]["packages"])
    assert {x.name for x in members} == set(PROJECT["tool"]["importlinter"]["root_packages"])


def test_no_package_has_a_name_that_a_users_project_would_have() -> None:
    assert all(x.name == "langlog" or x.name.startswith("langlog_") for x in packages())


def test_every_folder_of_a_package_that_holds_code_or_sql_is_a_package_or_sql() -> None:
    for package in packages():
        for folder in {
            x.parent for x in package.rglob("*.py") if "templates" not in x.parts
        }:  # projects of users to be
            assert (folder / "__init__.py").exists(), folder
        for folder in {x.parent for x in package.rglob("*.sql")}:
            assert folder.name == "sql", folder


def test_the_console_script_is_langlog() -> None:
    assert [x.value for x in entry_points(group="console_scripts", name="langlog")] == ["langlog.main:main"]


def test_nothing_of_the_closed_server_is_depended_on() -> None:
    names = " ".join(requires("langlog") or [])
    assert "langgraph-api" not in names
    assert "langgraph-runtime" not in names
    assert "langgraph-license" not in names
