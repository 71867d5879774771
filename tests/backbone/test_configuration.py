"""Configuration of services without graph code: from the project, and from the variables of its sections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import read_configuration, read_project
from langlog_backbone.project.ttl import store_ttl, thread_ttl
from langlog_schemas.commands import Ttl


def project(folder: Path, **sections: object) -> Path:
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, **sections}))
    return file


def test_a_section_comes_from_its_variable_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = read_configuration(project(tmp_path, webhooks={"env_prefix": "A_"}))
    assert configuration.section("webhooks") == {"env_prefix": "A_"}
    monkeypatch.setenv("LANGGRAPH_WEBHOOKS", '{"env_prefix": "B_"}')
    assert configuration.section("webhooks") == {"env_prefix": "B_"}


def test_without_the_file_the_variables_are_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = read_configuration(tmp_path / "langgraph.json")
    assert configuration.section("checkpointer") == {}
    assert thread_ttl(configuration).default is None
    monkeypatch.setenv("LANGGRAPH_CHECKPOINTER", '{"ttl": {"default_ttl": 5, "strategy": "keep_latest"}}')
    assert thread_ttl(configuration).default == Ttl(5, "keep_latest")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_variable_that_holds_no_object_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LANGGRAPH_WEBHOOKS", text)
    with pytest.raises(StartError, match="LANGGRAPH_WEBHOOKS"):
        read_configuration(tmp_path / "langgraph.json").section("webhooks")


def test_variables_that_are_set_win_over_the_projects_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = read_configuration(project(tmp_path, env={"LG_WEBHOOK_A": "file", "LG_WEBHOOK_B": "file"}))
    monkeypatch.setenv("LG_WEBHOOK_A", "shell")
    assert (configuration.environment()["LG_WEBHOOK_A"], configuration.environment()["LG_WEBHOOK_B"]) == (
        "shell",
        "file",
    )


@pytest.mark.parametrize(
    "ttl", [{"default_ttl": -1}, {"sweep_interval_minutes": 0}, {"strategy": "burn"}, {"sweep_limit": 0}]
)
def test_a_ttl_section_that_cannot_be_stops_the_start(tmp_path: Path, ttl: dict[str, object]) -> None:
    configuration = read_configuration(project(tmp_path, checkpointer={"ttl": ttl}, store={"ttl": {"default_ttl": 1}}))
    assert store_ttl(configuration).default_ttl == 1
    with pytest.raises(StartError, match=r"checkpointer\.ttl"):
        thread_ttl(configuration)


def test_default_assistants_get_config_and_context_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project(tmp_path, graphs={"a": "./g.py:a", "b": "./g.py:b", "c": "./g.py:c"})
    given = {
        "a": {
            "configurable": {"model": "m"},
            "tags": ["t"],
            "recursion_limit": 7,
            "run_name": "r",
            "max_concurrency": 2,
        },
        "b": {"context": {"model": "n"}},
    }
    monkeypatch.setenv("LANGGRAPH_CONFIG", json.dumps(given))
    graphs = read_project(file).graphs
    assert (graphs["a"].config, graphs["a"].context) == (given["a"], {"model": "m"})
    assert (graphs["b"].config, graphs["b"].context) == ({"configurable": {"model": "n"}}, {"model": "n"})
    assert (graphs["c"].config, graphs["c"].context) == ({}, {})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"nobody": {}}, "'nobody', which is not one of the project's: g"),
        ({"g": 3}, "Expected `object`, got `int`"),
        ({"g": {"configurable": 3}}, "configurable"),
        ({"g": {"tags": "t"}}, "tags"),
        ({"g": {"recursion_limit": 0}}, "recursion_limit"),
        (
            {"g": {"modell": 1, "tags": []}},
            r"graph 'g': 'modell' would have no effect; what has one is configurable, context, tags",
        ),
        ({"g": {"metadata": {"a": 1}}}, "'metadata' would have no effect"),
        ({"g": {"configurable": {"a": 1}, "context": {"a": 2}}}, "either 'configurable' or 'context'"),
    ],
)
def test_defaults_that_mean_nothing_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: object, words: str
) -> None:
    monkeypatch.setenv("LANGGRAPH_CONFIG", json.dumps(given))
    with pytest.raises(StartError, match=words):
        read_project(project(tmp_path))
