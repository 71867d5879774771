"""Keys of ``langgraph.json`` that are not read: reported once at the start, with the probable name.

Source of the names: wire contract §16 (the keys of the LangGraph CLI's configuration file).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import click
from langlog_backbone.project.config import Project

from .problems import Problem

FOR_IMAGES = frozenset(
    {
        "python_version",
        "node_version",
        "base_image",
        "image_distro",
        "dockerfile_lines",
        "pip_config_file",
        "pip_installer",
        "api_version",
        "source",
        "keep_pkg_tools",
        "package_manager",
    }
)
"""Keys about the build of an image: `langlog build` and `langlog dockerfile` read them (`projects/image_keys.py`)."""

KEYS: dict[str, frozenset[str]] = {
    "": frozenset(
        {
            "graphs",
            "dependencies",
            "env",
            "store",
            "checkpointer",
            "auth",
            "encryption",
            "priority",
            "http",
            "webhooks",
            "ui",
            "ui_config",
            "worker_lifespan",
            "$schema",
        }
    )
    | FOR_IMAGES,
    "source": frozenset({"kind", "root", "package"}),
    "store": frozenset({"index", "ttl", "path"}),
    "store.index": frozenset({"embed", "dims", "fields"}),
    "store.ttl": frozenset({"default_ttl", "refresh_on_read", "sweep_interval_minutes"}),
    "checkpointer": frozenset({"ttl", "path", "serde"}),
    "checkpointer.ttl": frozenset({"strategy", "default_ttl", "sweep_interval_minutes", "sweep_limit"}),
    "checkpointer.serde": frozenset({"allowed_json_modules", "allowed_msgpack_modules", "pickle_fallback"}),
    "auth": frozenset({"path", "public_members", "disable_studio_auth", "openapi", "cache"}),
    "auth.cache": frozenset({"cache_keys", "ttl_seconds", "max_size"}),
    "encryption": frozenset({"path", "json"}),
    "http": frozenset(
        {
            "app",
            "mount_prefix",
            "disable_assistants",
            "disable_threads",
            "disable_runs",
            "disable_store",
            "disable_mcp",
            "disable_a2a",
            "disable_meta",
            "disable_ui",
            "disable_webhooks",
            "disable_console",
            "disable_operator",
            "cors",
            "configurable_headers",
            "logging_headers",
            "middleware_order",
            "enable_custom_route_auth",
            "worker_lifespan",
        }
    ),
    "http.cors": frozenset(
        {
            "allow_origins",
            "allow_methods",
            "allow_headers",
            "allow_credentials",
            "allow_origin_regex",
            "expose_headers",
            "max_age",
        }
    ),
    "http.configurable_headers": frozenset({"includes", "excludes", "include", "exclude", "public"}),
    "http.logging_headers": frozenset({"includes", "excludes", "include", "exclude"}),
    "webhooks": frozenset({"env_prefix", "url", "headers"}),
    "webhooks.url": frozenset(
        {"require_https", "allowed_domains", "allowed_ports", "max_url_length", "disable_loopback"}
    ),
}
"""Section -> its keys; other sections may hold anything."""

WITHOUT_EFFECT: dict[str, str] = {
    "checkpointer.path": "a thread's state, history, replay and erasure are read from the log, where langlog's own saver keeps checkpoints",
    "checkpointer.serde.allowed_json_modules": "nothing stored as JSON becomes an object",
    "priority": "the runs of a thread begin in the order in which they were made",
}
"""Keys without effect in langlog -> reason."""

OTHERWISE: dict[str, str] = {
    "store.path": "graph nodes use this store; /store/items is langlog's own store, with other items, kept in the log",
}
"""Keys with another effect in langlog -> that effect."""


def unknown_keys(config: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, str | None]]:
    """Yield (dotted key, nearest known key or None) for each unknown key."""
    known = KEYS[section]
    for key, value in config.items():
        name = f"{section}.{key}" if section else key
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            yield name, (f"{section}.{near[0]}" if section else near[0]) if near else None
        elif name in KEYS and isinstance(value, Mapping):
            yield from unknown_keys(value, name)


def keys_without_effect(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, reason) for each that is set."""
    yield from _set_of(WITHOUT_EFFECT, config)


def _set_of(keys: Mapping[str, str], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, why in keys.items():
        value: Any = config
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value:
            yield name, why


def key_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield warnings of unknown keys, and notes on those with no effect or another one."""
    for key, near in unknown_keys(config):
        hint = f" (did you mean {near!r}?)" if near else ""
        yield Problem("warning", key, f"the key {key!r} is not known{hint}")
    for key, why in keys_without_effect(config):
        yield Problem("note", key, f"the key {key!r} has no effect: {why}")
    for key, what in _set_of(OTHERWISE, config):
        yield Problem("note", key, f"{key}: {what}")


def warn_of_unknown_keys(project: Project) -> None:
    """Print a line on stderr for each unknown key, for each known key without effect, and for each thing that this machine lacks."""
    texts = [*project.warnings(), *(problem.text for problem in key_problems(project.config))]
    for text in texts:
        click.echo(f"langlog: {project.file.name}: {text}", err=True)
