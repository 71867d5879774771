"""``/openapi.json`` and ``/docs``: generated from the types of requests and from the routes there are (wire contract §15).

Descriptions are docstrings: of an operation that of its handler, of a body or response those of its Struct and of each member.
Examples are in ``examples.json``, recorded from a running server (``python -m tests.openapi.examples``). A route without an entry in
`operations` is in the document too, with its path alone. Made once, at start; routes of the project's own application are merged in,
and the section ``auth.openapi``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, get_args, get_type_hints

import msgspec
from aiohttp import web
from langlog_backbone.history.run_view import LANGLOG_VERSION
from langlog_schemas.member_texts import member_texts

from ..custom_app.asgi import CustomApp
from ..http.errors import ErrorAnswer
from ..http.options import Options
from .operations import OPERATIONS, Operation
from .parameters import PATH

TITLE = "langlog"
COMMON = (413, 422, 429, 503, 504)
"""Statuses that any endpoint may return."""
REFUSED = (401, 403)
WORDS = {
    101: "Switching to WebSocket",
    200: "OK",
    201: "Created, but applying the initial supersteps failed",
    202: "Accepted",
    204: "No content",
    307: "Redirect to the canonical path",
    400: "Bad request",
    401: "Authentication required",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict with the current state",
    410: "Deleted from the read model; the log may still hold it",
    413: "Request body too large",
    422: "Request validation failed",
    429: "Too many requests",
    500: "The project's own code raised an exception",
    503: "A backing service is unavailable",
    504: "Timed out; the outcome is not known yet",
}
PLAIN = {"text/plain": {"schema": {"type": "string"}}}
_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")


def document(
    routes: Iterable[web.RouteDef], options: Options, custom: CustomApp | None = None, *, guarded: bool = False
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these routes (without prefix)."""
    shown = [route for route in routes if not options.http.disabled(route.path)]
    endpoints: list[tuple[str, web.RouteDef, Operation]] = []
    for route in shown:
        path = _PARAMETER.sub(r"{\1}", route.path)
        endpoints.append((path, route, OPERATIONS.get(f"{route.method} {path}", Operation())))
    types = {t for _, _, operation in endpoints for t in operation.types()} | {ErrorAnswer}
    ordered = sorted(types, key=repr)
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(ordered, schemas, strict=True))
    _describe(components, ordered)
    examples = msgspec.json.decode(resources.files(__package__).joinpath("examples.json").read_bytes())
    paths: dict[str, dict[str, Any]] = {}
    for path, route, operation in endpoints:
        method, example = route.method.lower(), examples.get(f"{route.method} {path}", {})
        made_of = _operation(path, method, operation, by_type, example, guarded=guarded)
        made_of["description"] = _markdown(inspect.getdoc(route.handler) or "")
        paths.setdefault(options.prefix + path, {})[method] = made_of
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": LANGLOG_VERSION},
        "paths": paths,
        "components": {"schemas": components},
    }
    if custom is not None:
        _merge_app(made, custom, options.prefix)
    _merge_auth(made, options.auth.openapi or {})
    return made


def _describe(components: Mapping[str, dict[str, Any]], types: Iterable[Any]) -> None:
    """Add the docstrings of Structs and their members to their schemas."""
    classes: dict[str, type[msgspec.Struct]] = {}
    for hint in types:
        _collect(hint, classes)
    for name, schema in components.items():
        if "description" in schema:
            schema["description"] = _markdown(schema["description"])
        cls = classes[name]
        encoded = dict(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))
        for member, text in member_texts(cls).items():
            if (described := schema.get("properties", {}).get(encoded.get(member, ""))) is not None:
                described["description"] = _markdown(text)


def _collect(hint: Any, classes: dict[str, type[msgspec.Struct]]) -> None:
    """Collect the Structs that a type refers to, by name."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint.__name__ not in classes:
        classes[hint.__name__] = hint
        for member in get_type_hints(hint, include_extras=True).values():
            _collect(member, classes)
    for argument in get_args(hint):
        _collect(argument, classes)


def _markdown(docstring: str) -> str:
    """Return a docstring's paragraphs, each on one line, without citations of documents."""
    text = re.sub(r" \((?:wire contract|docs/)[^)]*\)", "", docstring.replace("``", "`"))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _operation(
    path: str,
    method: str,
    operation: Operation,
    by_type: Mapping[Any, dict[str, Any]],
    example: Mapping[str, Any],
    *,
    guarded: bool,
) -> dict[str, Any]:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", path) if word]
    made: dict[str, Any] = {
        "operationId": "_".join([method, *words]) or method,
        "tags": [operation.tag or (words[0] if words else "system")],
        "summary": operation.summary or f"{method.upper()} {path}",
    }
    if parameters := _parameters(path, operation, example):
        made["parameters"] = parameters
    if operation.body is not None:
        content: dict[str, Any] = {"schema": by_type[operation.body]}
        if "body" in example:
            content["example"] = example["body"]
        made["requestBody"] = {"required": True, "content": {"application/json": content}}
    made["responses"] = _responses(operation, by_type, example, guarded=guarded)
    return made


def _parameters(path: str, operation: Operation, example: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []

    def parameter(where: str, name: str, about: str, schema: dict[str, Any], *, required: bool) -> None:
        entry = {"name": name, "in": where, "required": required, "description": about, "schema": schema}
        if name in (given := example.get(where, {})):
            entry["example"] = given[name]
        listed.append(entry)

    for name in _PARAMETER.findall(path):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if name.endswith("_id") and name != "checkpoint_id" and name not in operation.names:
            schema = {"type": "string", "format": "uuid"}
        parameter("path", name, PATH.get(name, ""), schema, required=True)
    for name, described in operation.query.items():
        schema = {key: value for key, value in described.items() if key != "description"}
        about = described.get("description", "")
        parameter("query", name, about, schema, required=name in operation.required)
    for name, about in operation.headers.items():
        parameter("header", name, about, {"type": "string"}, required=False)
    return listed


def _responses(
    operation: Operation, by_type: Mapping[Any, dict[str, Any]], example: Mapping[str, Any], *, guarded: bool
) -> dict[str, Any]:
    """Return the responses by status. ``guarded``: callers may be refused."""
    by_status: dict[str, Any] = {}
    if operation.answer is not None or operation.media is not None:
        schema = {} if operation.answer is None else by_type[operation.answer]
        by_status["200"] = {"content": {operation.media or "application/json": {"schema": schema}}}
    elif not operation.empty:
        by_status["200"] = {"content": {"application/json": {"schema": {}}}}
    for status in operation.empty:
        by_status[str(status)] = {}
    if "answer" in example:
        (body,) = by_status[str(example["status"])]["content"].values()
        body["example"] = example["answer"]
    error = by_type[ErrorAnswer]
    for status in sorted({*operation.errors, *COMMON, *(REFUSED if guarded else ())}):
        content = PLAIN if status == 500 else {"application/json": {"schema": error}}
        if status in operation.plain:
            content = {**content, **PLAIN}
        if status in operation.keyed:
            content = {"application/json": {"schema": {"type": "object"}}}
        by_status[str(status)] = {"content": content}
    for code, response in by_status.items():
        response["description"] = WORDS[int(code)]
    return dict(sorted(by_status.items()))


def _merge_app(made: dict[str, Any], custom: CustomApp, prefix: str) -> None:
    """Merge the application's own document if it has one (FastAPI), else its routes."""
    own: Any = getattr(custom.app, "openapi", None)
    if callable(own):
        other = _apart(msgspec.json.decode(msgspec.json.encode(own())), made["components"])
        for path, item in other.get("paths", {}).items():
            made["paths"][prefix + path] = item
        for kind, entries in other.get("components", {}).items():
            made["components"].setdefault(kind, {}).update(entries)
        return
    for path, methods in custom.endpoints():
        operations = {
            method.lower(): {
                "summary": f"{method} {path}",
                "tags": ["custom"],
                "parameters": [
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                    for name in _PARAMETER.findall(path)
                ],
                "responses": {"default": {"description": "As the project's application answers"}},
            }
            for method in sorted(methods)
            if method != "HEAD"
        }
        made["paths"][prefix + _PARAMETER.sub(r"{\1}", path)] = operations


def _apart(other: dict[str, Any], taken: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document with components renamed to ``App<name>`` if ours has the same name, wherever it refers to them."""
    moved = {
        f"#/components/{kind}/{name}": f"#/components/{kind}/App{name}"
        for kind, entries in other.get("components", {}).items()
        for name in entries
        if name in taken.get(kind, {})
    }

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(entry) for entry in value]
        if isinstance(value, dict):
            return {k: moved.get(v, v) if k == "$ref" and isinstance(v, str) else renamed(v) for k, v in value.items()}
        return value

    apart: dict[str, Any] = renamed(other) if moved else other
    for kind, entries in apart.get("components", {}).items():
        apart["components"][kind] = {
            f"App{name}" if f"#/components/{kind}/{name}" in moved else name: entry for name, entry in entries.items()
        }
    return apart


def _merge_auth(made: dict[str, Any], declared: Mapping[str, Any]) -> None:
    """Merge section ``auth.openapi``: security schemes, the default requirement, and exceptions by path."""
    if schemes := declared.get("securitySchemes"):
        made["components"]["securitySchemes"] = schemes
    if security := declared.get("security"):
        made["security"] = security
    for path, item in (declared.get("paths") or {}).items():
        for method, more in item.items():
            if isinstance(more, dict):
                made["paths"].setdefault(path, {}).setdefault(method, {"responses": {}}).update(more)


DOCS = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>langlog API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
summary{cursor:pointer;padding:.3rem 0}code{font:13px ui-monospace,monospace}
b{display:inline-block;min-width:4.2rem;font:600 12px ui-monospace,monospace}
pre{background:#f4f4f4;padding:.7rem;overflow:auto;font-size:12px}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}pre{background:#222}}
</style></head>
<body><h1>langlog API</h1><p>The document itself: <a href="openapi.json">openapi.json</a></p><main></main>
<script>
const text = (tag, value) => { const e = document.createElement(tag); e.textContent = value; return e }
fetch("openapi.json").then(answer => answer.json()).then(doc => {
  const groups = {}
  for (const [path, item] of Object.entries(doc.paths))
    for (const [method, operation] of Object.entries(item))
      (groups[(operation.tags || ["other"])[0]] ||= []).push([method, path, operation])
  for (const [tag, entries] of Object.entries(groups)) {
    const main = document.querySelector("main")
    main.append(text("h2", tag))
    for (const [method, path, operation] of entries) {
      const details = document.createElement("details"), summary = document.createElement("summary")
      summary.append(text("b", method.toUpperCase()), text("code", path), " " + (operation.summary || ""))
      details.append(summary, text("pre", JSON.stringify(operation, null, 2)))
      main.append(details)
    }
  }
  document.querySelector("main").append(text("h2", "schemas"), text("pre", JSON.stringify(doc.components.schemas, null, 2)))
})
</script></body></html>
"""
