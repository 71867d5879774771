"""Reference pages of the HTTP API, from the OpenAPI document that gateways serve at ``/openapi.json``."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from langlog_gateway import app
from langlog_gateway.console.routes import Console
from langlog_gateway.custom_app.asgi import CustomApp
from langlog_gateway.http.options import AuthOptions, HttpOptions, Options
from langlog_gateway.openapi.document import document as openapi_document
from langlog_gateway.resources.truncation import Truncation

FOLDER = "reference/http-api"
TAGS = {
    "assistants": "Assistants: graphs with a configuration, in versions",
    "threads": "Threads, their state and history, and runs on them",
    "runs": "Runs without a thread, batches, and crons",
    "store": "Items of the store, by namespace and key",
    "changes": "Changes of lists, as a stream",
    "interrupts": "Open interrupts of all threads, and answers to them",
    "mcp": "Assistants as tools of the Model Context Protocol",
    "a2a": "Assistants as agents of the A2A protocol",
    "operator": "The whole system, its log and its dead letters, for operators",
    "system": "Health, version, metrics and this document",
}
OTHERS = (Console, CustomApp, Truncation)
"""Routes for people, of the project, and for test suites: no document lists them."""
SHOWN_CHARACTERS = 2_500
"""Maximum characters of one example; the rest is replaced by an ellipsis, and complete in the document."""

Schema = Mapping[str, Any]


@functools.cache
def document() -> dict[str, Any]:
    """Return the document of a gateway whose project has no HTTP options, without starting a gateway."""
    kinds: list[Any] = [
        x for x in vars(app).values() if isinstance(x, type) and hasattr(x, "routes") and x not in OTHERS
    ]
    routes = [route for kind in kinds for route in object.__new__(kind).routes()]
    return openapi_document(routes, Options(None, HttpOptions(), AuthOptions(), ""))


def operations() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield tag, method, path and operation, in the order of the document."""
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield operation["tags"][0], method.upper(), path, operation


def pages() -> dict[str, Callable[[], str]]:
    by_path = {f"{FOLDER}/{tag}.md": functools.partial(tag_page, tag) for tag in TAGS}
    return {f"{FOLDER}/index.md": index_page, **by_path, f"{FOLDER}/schemas.md": schemas_page}


def index_page() -> str:
    lines = [
        "# HTTP API\n",
        "Every operation of the server, made from the OpenAPI document that it serves at `/openapi.json`. What the document cannot "
        'express is in the [wire contract](../wire-contract.md); an error is `{"detail": …}`, and [Errors](../errors.md) says what '
        "to do.\n",
    ]
    for tag, about in TAGS.items():
        lines += [f"\n## [{tag}]({tag}.md)\n", f"{about}.\n", "| operation | |", "| --- | --- |"]
        lines += [
            f"| [`{method} {path}`]({tag}.md#{anchor(method, path)}) | {cell(operation['summary'])} |"
            for its, method, path, operation in operations()
            if its == tag
        ]
    return "\n".join(lines) + "\n"


def tag_page(tag: str) -> str:
    lines = [f"# {tag}\n", f"{TAGS[tag]}. Types are on the page [Schemas](schemas.md).\n"]
    for its, method, path, operation in operations():
        if its == tag:
            lines += operation_section(method, path, operation)
    return "\n".join(lines) + "\n"


def operation_section(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {operation['summary']} {{ #{anchor(method, path)} }}\n"
    yield f"`{method} {path}`\n"
    yield f"{operation.get('description', '')}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | meaning |\n| --- | --- | --- | --- |"
        for one in parameters:
            required = " (required)" if one["required"] and one["in"] != "path" else ""
            yield f"| `{one['name']}` | {one['in']} | {type_of(one['schema'])} | {cell(one.get('description', ''))}{required} |"
        yield ""
    if body := operation.get("requestBody"):
        yield f"Body: {type_of(body['content']['application/json']['schema'])}\n"
    yield "| status | meaning | body |\n| --- | --- | --- |"
    for status, response in operation["responses"].items():
        kinds = ", ".join(
            kind.removeprefix("application/") if status.startswith("2") and not content.get("schema") else type_of(content.get("schema", {}), kind)
            for kind, content in response.get("content", {}).items()
        )  # fmt: skip
        yield f"| {status} | {cell(response['description'])} | {kinds} |"
    yield ""
    yield from example(method, path, operation)


def example(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    """Return a request as curl sends it, and the recorded response."""
    given = {(x["in"], x["name"]): x["example"] for x in operation.get("parameters", ()) if "example" in x}
    for (where, name), value in given.items():
        if where == "path":
            path = path.replace(f"{{{name}}}", str(value))
    if "{" in path:
        return
    query = "&".join(
        f"{name}={json.dumps(v) if not isinstance(v, str) else v}" for (w, name), v in given.items() if w == "query"
    )
    address = f"localhost:2024{path}{'?' + query if query else ''}"
    words = ["curl", *(["-X", method] if method not in ("GET", "POST") else [])]
    command = f"{shlex.join(words)} {shlex.quote(address)}"
    if (body := operation.get("requestBody")) is not None:
        content = body["content"]["application/json"]
        if "example" not in content:
            return
        command += f" \\\n  -d {shlex.quote(json.dumps(content['example'], ensure_ascii=False))}"
    elif method == "POST":
        command = command.replace("curl ", "curl -X POST ", 1)
    yield f"```sh\n{command}\n```\n"
    for status, response in operation["responses"].items():
        for kind, content in response.get("content", {}).items():
            if "example" in content:
                yield f'??? example "The answer: {status}, {kind}"\n'
                value = content["example"]
                text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
                if len(text) > SHOWN_CHARACTERS:
                    text = text[: text.rfind("\n", 0, SHOWN_CHARACTERS)] + "\n…"
                fence = "json" if kind == "application/json" else "text"
                yield "\n".join(f"    {line}" for line in [f"```{fence}", *text.splitlines(), "```"]) + "\n"


def schemas_page() -> str:
    lines = ["# Schemas\n", "Types of the HTTP API's bodies. A member without a default is required in requests.\n"]
    for name, schema in sorted(document()["components"]["schemas"].items()):
        lines += [f"\n## {name}\n", f"{schema.get('description', '')}\n"]
        if properties := schema.get("properties"):
            lines += members(properties, set(schema.get("required", ())))
    return "\n".join(lines) + "\n"


def members(properties: Mapping[str, Schema], required: set[str], link: str = "") -> list[str]:
    """Return a table of an object's members."""
    lines = ["| member | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, schema in properties.items():
        default = (
            "required" if name in required else f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
        )
        lines.append(
            f"| `{name}` | {type_of(schema, link=link)} | {cell(default)} | {cell(schema.get('description', ''))} |"
        )
    return lines


def type_of(schema: Schema, kind: str = "", link: str = "schemas.md") -> str:
    """Return a schema in a few words, with links to the types that it names (``link``: the page that has them)."""
    if kind and kind != "application/json":
        return f"`{kind}`"
    if not schema:
        return "any JSON"
    if (reference := schema.get("$ref")) is not None:
        name = reference.rpartition("/")[2]
        return f"[{name}]({link}#{name.lower()})"
    if (options := schema.get("anyOf")) is not None:
        return " or ".join(dict.fromkeys(type_of(x, link=link) for x in options))
    if (values := schema.get("enum")) is not None:
        return ", ".join(f"`{json.dumps(x)}`".replace("|", "\\|") for x in values)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    match schema.get("type"):
        case "array":
            return f"array of {type_of(schema.get('items', {}), link=link)}"
        case "object" if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
            return f"object of {type_of(schema['additionalProperties'], link=link)}"
        case str(name):
            return f"{name} ({schema['format']})" if "format" in schema else name
        case list(names):
            return " or ".join(map(str, names))
    return "any JSON"


def anchor(method: str, path: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in path).split()
    return "-".join([method.lower(), *words])


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
