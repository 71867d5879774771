"""The project's options for serving: sections ``http`` and ``auth`` of langgraph.json (wire contract §16) and their variables.

``LANGGRAPH_HTTP`` and ``LANGGRAPH_AUTH`` hold a section as JSON and take precedence over the file; ``MOUNT_PREFIX`` and
``CORS_ALLOW_ORIGINS`` take precedence over both. Read once at start. Pure but for reading the file.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Project, required_project
from langlog_backbone.values.lone_surrogates import encodable

from .trace_headers import trace_configurable

T = TypeVar("T")

SERVER_KEYS = frozenset(
    {"run_id", "thread_id", "graph_id", "assistant_id", "user_id", "checkpoint_id", "checkpoint_ns"}
)
"""Keys of a run's configurable that no request header may set, besides those that begin with ``langgraph_`` or ``__``."""


class CorsOptions(msgspec.Struct, frozen=True):
    allow_origins: list[str] | None = None
    allow_methods: list[str] | None = None
    allow_headers: list[str] | None = None
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: list[str] | None = None
    max_age: int = 600


class HeaderPatterns(msgspec.Struct, frozen=True):
    """Header names with ``*``; excludes take precedence."""

    includes: list[str] | None = None
    excludes: list[str] | None = None
    include: list[str] | None = None
    """Alias of ``includes``, for compatibility; both are combined."""
    exclude: list[str] | None = None
    """Alias of ``excludes``."""

    def pick(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the matching headers, with names in lower case."""
        picked = {}
        for name, value in headers.items():
            name = name.lower()
            if (_any(name, self.includes) or _any(name, self.include)) and not self.excluded(name):
                picked[name] = value
        return picked

    def excluded(self, name: str) -> bool:
        return _any(name, self.excludes) or _any(name, self.exclude)


def _any(name: str, patterns: list[str] | None) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in patterns or ())


class ConfigurableHeaders(HeaderPatterns, frozen=True):
    """Headers that become configurable keys of runs."""

    public: list[str] | None = None
    """Headers among them that are no credentials, so readers of a run, webhooks and the log may see them. langlog's own."""

    def is_public(self, name: str) -> bool:
        """Return whether every reader of a run may see the header's value."""
        return _any(name, self.public)


class HttpOptions(msgspec.Struct, frozen=True):
    """Section ``http``."""

    app: str | None = None
    mount_prefix: str | None = None
    cors: CorsOptions | None = None
    configurable_headers: ConfigurableHeaders | None = None
    logging_headers: HeaderPatterns | None = None
    middleware_order: Literal["middleware_first", "auth_first"] = "middleware_first"
    enable_custom_route_auth: bool = False
    worker_lifespan: bool | None = None
    """Whether the lifespan of ``app`` also runs in workers, which read it themselves; None: where graphs use it. langlog's own."""
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_meta: bool = False
    disable_ui: bool = False
    disable_webhooks: bool = False
    disable_console: bool = False
    """Do not serve the pages at ``/console``. langlog's own."""
    disable_operator: bool = False
    """Do not serve paths below ``/operator``: health, log records and dead letters. langlog's own."""

    def disabled(self, path: str) -> bool:
        """Return whether a built-in route (without prefix) is switched off."""
        parts = path.strip("/").split("/")
        first = parts[0]
        if self.disable_runs and (first in ("mcp", "a2a", ".well-known") or _makes_runs(parts)):
            return True
        if self.disable_threads and first in ("a2a", ".well-known"):  # what A2A calls a context is a thread
            return True
        if parts[-1] == "webhooks" and self.disable_webhooks:
            return True
        return {
            "assistants": self.disable_assistants,
            "threads": self.disable_threads,
            "interrupts": self.disable_threads,
            "runs": self.disable_runs,
            "store": self.disable_store,
            "mcp": self.disable_mcp,
            "a2a": self.disable_a2a,
            ".well-known": self.disable_a2a,
            "ui": self.disable_ui,
            "operator": self.disable_operator,
            "openapi.json": self.disable_meta,
            "info": self.disable_meta,
            "metrics": self.disable_meta,
            "docs": self.disable_meta,
            "console": self.disable_console,
        }.get(first, False)

    def configurable(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the members of a run's configurable that are set from the request's headers."""
        if self.configurable_headers is None:
            return {}
        picked = self.configurable_headers.pick(headers)
        return {
            k: encodable(v)
            for k, v in picked.items()
            if k not in SERVER_KEYS and not k.startswith(("langgraph_", "__"))
        }

    def trace(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the members of a run's configurable for its LangSmith trace, without those that the project excludes."""
        excluding = self.configurable_headers
        return {
            name: value
            for name, value in trace_configurable(headers).items()
            if excluding is None or not excluding.excluded(name)
        }

    def is_public(self, header: str) -> bool:
        """Return whether every reader of a run may see the value of a header in its configurable."""
        return self.configurable_headers is not None and self.configurable_headers.is_public(header)


def _makes_runs(parts: list[str]) -> bool:
    """Return whether a path outside ``/runs`` creates or shows runs; the streaming protocol's socket accepts commands too."""
    if parts == ["interrupts", "respond"]:
        return True
    return parts[0] == "threads" and (parts[2:3] in (["runs"], ["commands"]) or parts[2:] == ["stream", "events"])


class AuthCache(msgspec.Struct, frozen=True):
    """Cache of authentication results, by the values of some request headers."""

    cache_keys: tuple[str, ...] = ("authorization",)
    ttl_seconds: float = 60
    max_size: int = 1000


class AuthOptions(msgspec.Struct, frozen=True):
    """Section ``auth``."""

    path: str | None = None
    public_members: list[str] = []
    """Members that ``authenticate`` returns, beside identity, display_name, is_authenticated and permissions, that are no
    credentials, so that readers of a run, webhooks and the log may see them. langlog's own."""
    disable_studio_auth: bool = False
    openapi: dict[str, Any] | None = None
    cache: AuthCache | None = None


class Options(msgspec.Struct, frozen=True):
    project: Project | None
    http: HttpOptions
    auth: AuthOptions
    prefix: str
    """Prefix of every path; empty or ``/…`` without a slash at its end."""

    def owner(self) -> Project:
        """Return the project, for objects it names. Raises StartError if there is none."""
        if self.project is None:
            raise StartError("the langgraph.json that http.app and auth.path belong to is missing (LANGLOG_PROJECT)")
        return self.project


def read_options(settings: Settings, environ: Mapping[str, str] | None = None) -> Options:
    """Read the options. Raises StartError for a project that cannot be read, and for a section that is not valid."""
    env = os.environ if environ is None else environ
    project = required_project(settings)
    http = _section(project, env, "http", "LANGGRAPH_HTTP", HttpOptions)
    auth = _section(project, env, "auth", "LANGGRAPH_AUTH", AuthOptions)
    prefix = settings.mount_prefix or http.mount_prefix or ""
    prefix = prefix.strip("/")
    return Options(project, http, auth, f"/{prefix}" if prefix else "")


def _section(project: Project | None, env: Mapping[str, str], name: str, variable: str, kind: type[T]) -> T:
    text = env.get(variable, "")
    where = variable if text else f"{project.file if project else ''}: {name!r}"
    try:
        section: Any = msgspec.json.decode(text) if text else project.section(name) if project else {}
        return msgspec.convert({} if section is None else section, kind)
    except msgspec.MsgspecError as error:
        raise StartError(f"{where}: {error}") from None
