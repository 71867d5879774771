"""Keys of langgraph.json that are not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from langlog.projects.keys import unknown_keys, warn_of_unknown_keys
from langlog_backbone.project.config import read_project


def test_a_misspelt_key_is_named_with_the_one_that_was_probably_meant() -> None:
    assert list(unknown_keys({"graph": {}, "dependancies": []})) == [
        ("graph", "graphs"),
        ("dependancies", "dependencies"),
    ]


def test_a_key_like_no_other_is_named_alone() -> None:
    assert list(unknown_keys({"zzz": 1})) == [("zzz", None)]


def test_sections_are_looked_into() -> None:
    config = {"store": {"index": {"dim": 8}}, "http": {"cors": {"allow_origin": []}}}
    assert list(unknown_keys(config)) == [
        ("store.index.dim", "store.index.dims"),
        ("http.cors.allow_origin", "http.cors.allow_origins"),
    ]


def test_names_that_users_choose_are_not_keys() -> None:
    assert not list(unknown_keys({"graphs": {"anything": "x.py:y"}, "env": {"FOO": "1"}, "ui": {"x": "y"}}))


def test_the_contracts_and_the_examples_projects_have_no_unknown_key() -> None:
    root = Path(__file__).parents[2]
    files = [*root.glob("tests/contract/graphs/langgraph*.json"), *root.glob("examples/*/langgraph.json")]
    assert len(files) >= 2
    for file in files:
        assert not list(unknown_keys(json.loads(file.read_text()))), file


def test_the_warning_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"a": "./a.py:b"}, "stor": {}}')
    warn_of_unknown_keys(read_project(tmp_path / "langgraph.json"))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "langlog: langgraph.json: the key 'stor' is not known (did you mean 'store'?)\n"
