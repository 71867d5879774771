"""Every key of langgraph.json and every variable that the contract lists (wire contract §16 and §17): read, or reported to
be without effect.

A list of the keys is compared with their readers, so that a key cannot be known and do nothing unnoticed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langlog.projects.image_keys import UvSource
from langlog.projects.keys import FOR_IMAGES, KEYS, WITHOUT_EFFECT, keys_without_effect, warn_of_unknown_keys
from langlog_backbone.process.environment import UNSERVED, VARIABLES, read_settings
from langlog_backbone.process.service import StartError
from langlog_backbone.process.setting_files import SettingError
from langlog_backbone.project.config import GRAPHS, SECTIONS, Project, read_configuration, read_project
from langlog_backbone.project.store_index import StoreIndex
from langlog_backbone.project.ttl import StoreTtl, ThreadTtl
from langlog_backbone.project.webhook_policy import UrlRules, WebhookSection
from langlog_gateway.http.options import (
    AuthCache,
    AuthOptions,
    ConfigurableHeaders,
    CorsOptions,
    HeaderPatterns,
    HttpOptions,
    read_options,
)

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"

READERS: dict[str, Any] = {
    "source": UvSource,
    "store.index": StoreIndex,
    "store.ttl": StoreTtl,
    "checkpointer.ttl": ThreadTtl,
    "auth": AuthOptions,
    "auth.cache": AuthCache,
    "http": HttpOptions,
    "http.cors": CorsOptions,
    "http.configurable_headers": ConfigurableHeaders,
    "http.logging_headers": HeaderPatterns,
    "webhooks": WebhookSection,
    "webhooks.url": UrlRules,
}
"""Section -> the type that it is read into."""
BY_HAND = {
    "": {"graphs", "dependencies", "env", "$schema", "worker_lifespan", *SECTIONS},
    "store": {"index", "ttl", "path"},
    "checkpointer": {"ttl", "serde"},
    "checkpointer.serde": {"allowed_msgpack_modules", "pickle_fallback"},
    "encryption": {"path", "json"},
}
"""Sections whose members have readers of their own, tested where they are."""
CONTRACT_VARIABLES = (
    *("DATABASE_URI", "POSTGRES_URI", "REDIS_URI", "REDIS_CLUSTER", "REDIS_KEY_PREFIX", "REDIS_MAX_CONNECTIONS"),
    *("LANGGRAPH_POSTGRES_POOL_MAX_SIZE", "N_JOBS_PER_WORKER", "BG_JOB_TIMEOUT_SECS", "BG_JOB_MAX_RETRIES"),
    *("BG_JOB_ISOLATED_LOOPS", "CRON_SCHEDULER_SLEEP_TIME", "FF_CRONS_ENABLED", "MOUNT_PREFIX", "CORS_ALLOW_ORIGINS"),
    *("LANGGRAPH_AES_KEY", "LANGGRAPH_AES_JSON_KEYS", "LANGGRAPH_AUTH_TYPE", "STATS_INTERVAL_SECS"),
    *("LANGSMITH_TRACING", "LANGSMITH_API_KEY", "LANGSMITH_ENDPOINT"),
)
IDLE_VARIABLES = {"REDIS_MAX_CONNECTIONS", "CRON_SCHEDULER_SLEEP_TIME", "STATS_INTERVAL_SECS"}
"""Documented to have no effect."""
LIBRARY_VARIABLES = {"LANGSMITH_TRACING", "LANGSMITH_API_KEY", "LANGSMITH_ENDPOINT"}
"""Read by the LangChain library in workers, which have the environment of the server."""


@pytest.mark.parametrize("section", KEYS)
def test_every_known_key_has_a_reader_or_is_said_to_have_no_effect(section: str) -> None:
    own = {name.rpartition(".")[2] for name in WITHOUT_EFFECT if name.rpartition(".")[0] == section}
    if section in READERS:
        assert KEYS[section] == set(READERS[section].__struct_fields__) | own
    else:
        assert KEYS[section] == BY_HAND[section] | own | (FOR_IMAGES if section == "" else set())


def test_every_key_and_variable_is_explained() -> None:
    text = DOCS.read_text()
    for section, keys in KEYS.items():
        for key in keys - {"$schema", "package_manager"}:
            name = f"{section}.{key}" if section else key
            assert any(f"`{known}" in text for known in (f"{name}`", f"{key}`", f"{key}:", f"{name}.")), name
    for name in (*CONTRACT_VARIABLES, GRAPHS, "LANGGRAPH_<SECTION>"):
        assert f"`{name}`" in text, name
    for name in WITHOUT_EFFECT:
        assert f"`{name}`" in text, name


def test_every_variable_of_the_contract_is_read_refused_or_idle() -> None:
    read = {name for names in VARIABLES.values() for name in names}
    assert read | set(UNSERVED) | IDLE_VARIABLES | LIBRARY_VARIABLES >= set(CONTRACT_VARIABLES)
    assert not read & (set(UNSERVED) | IDLE_VARIABLES | LIBRARY_VARIABLES)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LANGGRAPH_AES_JSON_KEYS", "k"), ("LANGGRAPH_AUTH_TYPE", "langsmith"), ("REDIS_CLUSTER", "true")],
)
def test_a_variable_that_would_be_broken_in_silence_stops_the_start(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_settings({name: value})


def test_values_of_such_variables_that_change_nothing_are_fine() -> None:
    harmless = {
        "LANGGRAPH_AES_KEY": "",
        "LANGGRAPH_AES_JSON_KEYS": "",
        "LANGGRAPH_AUTH_TYPE": "noop",
        "REDIS_CLUSTER": "False",
    }
    assert read_settings(harmless) == read_settings({})


def written(folder: Path, **config: Any) -> Path:
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"a": "./a.py:b"}, **config}))
    return file


@pytest.mark.parametrize("section", ["store", "checkpointer", "http", "webhooks", "auth"])
def test_a_section_in_the_environment_wins_over_the_file_for_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    file = written(tmp_path, **{section: {"ttl": {"default_ttl": 1}}})
    monkeypatch.setenv(f"LANGGRAPH_{section.upper()}", '{"path": "x.py:y"}')
    assert read_project(file).section(section) == {"path": "x.py:y"}
    assert read_configuration(file).section(section) == {"path": "x.py:y"}
    monkeypatch.setenv(f"LANGGRAPH_{section.upper()}", "null")
    assert read_project(file).section(section) == {"ttl": {"default_ttl": 1}}
    for bad in ("[1]", "{"):
        monkeypatch.setenv(f"LANGGRAPH_{section.upper()}", bad)
        with pytest.raises(StartError, match=f"LANGGRAPH_{section.upper()}"):
            read_project(file)


def test_graphs_may_come_from_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GRAPHS, '{"b": {"path": "./b.py:c", "description": "B"}}')
    for file in (tmp_path / "nowhere.json", written(tmp_path)):
        loaded = read_project(file)
        assert {name: str(spec) for name, spec in loaded.graphs.items()} == {"b": "./b.py:c"}
        assert loaded.path_of(loaded.graphs["b"]) == tmp_path / "b.py"


def test_keys_without_effect_are_named_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"checkpointer": {"path": "x", "ttl": {}}, "priority": {"path": "p"}}
    assert [name for name, _ in keys_without_effect(config)] == ["checkpointer.path", "priority"]
    warn_of_unknown_keys(read_project(written(tmp_path, priority={"path": "p"})))
    said = capsys.readouterr().err
    assert said == (
        "langlog: langgraph.json: the key 'priority' has no effect: "
        "the runs of a thread begin in the order in which they were made\n"
    )


def test_a_store_of_the_projects_own_is_named_with_what_it_is_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_unknown_keys(read_project(written(tmp_path, store={"path": "./s.py:s"})))
    assert capsys.readouterr().err == (
        "langlog: langgraph.json: store.path: graph nodes use this store; /store/items is langlog's own store, with other items, "
        "kept in the log\n"
    )


OFF = {
    "disable_assistants": "/assistants/search",
    "disable_threads": "/threads/{thread_id}/state",
    "disable_runs": "/threads/{thread_id}/runs/wait",
    "disable_store": "/store/items",
    "disable_mcp": "/mcp",
    "disable_a2a": "/.well-known/agent-card.json",
    "disable_meta": "/openapi.json",
    "disable_ui": "/ui/x",
    "disable_webhooks": "/threads/{thread_id}/runs/{run_id}/webhooks",
    "disable_console": "/console",
    "disable_operator": "/operator/health",
}


@pytest.mark.parametrize("key", sorted(k for k in KEYS["http"] if k.startswith("disable_")))
def test_each_switch_takes_its_own_routes_away(key: str) -> None:
    options = HttpOptions(**{key: True})
    assert [name for name, path in OFF.items() if options.disabled(path)] == (
        # MCP and A2A make runs, and A2A makes threads
        ["disable_threads", "disable_runs", "disable_a2a", "disable_webhooks"]
        if key == "disable_threads"
        else ["disable_runs", "disable_mcp", "disable_a2a", "disable_webhooks"]
        if key == "disable_runs"
        else [key]
    )
    assert not options.disabled("/ok")


def test_the_gateways_options_are_those_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, auth={"disable_studio_auth": True}, http={"disable_webhooks": True})
    options = read_options(read_settings({"LANGLOG_PROJECT": str(file)}), {})
    assert options.auth.disable_studio_auth and options.http.disable_webhooks
    assert isinstance(options.project, Project)
