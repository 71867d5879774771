"""The OpenAPI document: complete, and true.

True means: whatever is generated from it, no answer is a server error, and each has a status, a media type and a form that the
document names. ``OPENAPI_EXAMPLES`` sets how many requests (by default few enough for CI; 5,000 for a thorough run).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.replay import RECORDINGS
from tests.openapi.examples import FILE, PROJECT, WITHOUT, first_of_each, send_all
from tests.packaging.test_wording import dialect
from tests.stack.server import LiveServer

EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "300"))
ANSWER_S = 120.0
ENDLESS = ("/changes", "/operator/log/stream", "/threads/{thread_id}/stream", "/threads/{thread_id}/stream/events")
PROTOCOLS = ("/mcp", "/a2a", "/.well-known", "/threads/{thread_id}/commands")
"""JSON-RPC and the like: their own tests know what they answer."""
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(PROJECT, tmp_path_factory.mktemp("openapi"))
    with live.up():
        yield live


@pytest.fixture(scope="module")
def document(server: LiveServer) -> dict[str, Any]:
    result: dict[str, Any] = requests.get(f"{server.url}/openapi.json", timeout=ANSWER_S).json()
    return result


@pytest.mark.slow
def test_the_document_has_every_path_of_the_contract(document: dict[str, Any]) -> None:
    lines = (RECORDINGS / "system.jsonl").read_text().splitlines()
    recorded = [json.loads(line) for line in lines]
    paths = next(r["response"]["json"]["paths"] for r in recorded if r["request"]["path"] == "/openapi.json")
    # documented with a slash by the recorded server, and redirected from there to the path without
    missing = {path.replace("/mcp/", "/mcp") for path in paths} - document["paths"].keys()
    assert not missing


Operations = list[tuple[str, dict[str, Any]]]
"""``GET /path`` and its operation."""


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> Operations:
    return [
        (f"{method.upper()} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


@pytest.mark.slow
def test_every_operation_parameter_and_member_is_described(document: dict[str, Any], operations: Operations) -> None:
    names = [operation["operationId"] for _, operation in operations]
    assert len(names) == len(set(names))
    bare = [name for name, operation in operations if operation["summary"] == name]
    assert not bare, "without an entry in operations.py"
    assert not [name for name, operation in operations if not operation["description"]], "handlers without a docstring"
    assert not [
        f"{name}: {parameter['name']}"
        for name, operation in operations
        for parameter in operation.get("parameters", ())
        if not parameter["description"]
    ]
    schemas = document["components"]["schemas"]
    assert not [name for name, schema in schemas.items() if not schema.get("description")], (
        "Structs without a docstring"
    )
    assert not [
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member, described in schema["properties"].items()
        if not described.get("description")
    ]
    assert dialect(json.dumps(document, ensure_ascii=False)) == []


@pytest.mark.slow
def test_every_operation_has_an_example_that_fits_its_schema(document: dict[str, Any], operations: Operations) -> None:
    examples = json.loads(FILE.read_text())
    assert examples.keys() == {name for name, _ in operations} - WITHOUT.keys(), "see tests/openapi/examples.py"

    wrong: list[str] = []

    def check(where: str, schema: dict[str, Any], example: Any) -> None:
        validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
        wrong.extend(f"{where}, {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(example))

    for name, operation in operations:
        if name in WITHOUT:
            continue
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                check(f"{name}, {parameter['name']}", parameter["schema"], parameter["example"])
            elif parameter["required"]:
                wrong.append(f"{name}, {parameter['name']}: required, and without an example")
        contents = {"body": operation.get("requestBody", {}).get("content", {}).get("application/json")}
        if examples[name]["status"] == 200:
            (contents["response"],) = operation["responses"]["200"]["content"].values()
        for part, content in contents.items():
            if content is not None:
                check(f"{name}, {part}", content["schema"], content["example"])
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_the_server_answers_the_examples_as_they_say(server: LiveServer) -> None:
    examples = first_of_each(send_all(server.url))
    assert {name: shape(example) for name, example in examples.items()} == {
        name: shape(example) for name, example in json.loads(FILE.read_text()).items()
    }, "python -m tests.openapi.examples writes them anew"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "status"), [("get", 405), ("delete", 404)])
def test_an_error_without_a_body_is_documented_without_one(
    server: LiveServer, document: dict[str, Any], method: str, status: int
) -> None:
    answer = requests.request(method, f"{server.url}/mcp", timeout=ANSWER_S)
    assert (answer.status_code, answer.content) == (status, b"")
    assert "content" not in document["paths"]["/mcp"][method]["responses"][str(status)]


def shape(value: Any) -> Any:
    """Members and types; of a list, those of its first entry; of a text of events, their names."""
    match value:
        case dict():
            return {name: shape(inner) for name, inner in value.items()}
        case list():
            return [shape(inner) for inner in value[:1]]
        case str() if "event: " in value:
            return [line for line in value.splitlines() if line.startswith("event: ")]
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
        case _:
            return type(value).__name__


@pytest.mark.slow
def test_the_documentation_page_shows_the_document(server: LiveServer) -> None:
    answer = requests.get(f"{server.url}/docs", timeout=ANSWER_S)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "openapi.json" in answer.text


class Known:
    """Objects that there are, so that requests get beyond 404."""

    def __init__(self, url: str) -> None:
        def post(path: str, body: Any) -> Any:
            return requests.post(url + path, json=body, timeout=ANSWER_S).json()

        self.url = url
        thread = post("/threads", {"metadata": {"a": 1}})["thread_id"]
        post(f"/threads/{thread}/runs/wait", {"assistant_id": "echo", "input": {"text": "x"}})
        run = requests.get(f"{url}/threads/{thread}/runs", timeout=ANSWER_S).json()[0]["run_id"]
        assistant = post("/assistants", {"graph_id": "echo"})["assistant_id"]
        self.ids = {"thread_id": thread, "run_id": run, "assistant_id": assistant}

    def fill(self, case: schemathesis.Case) -> None:
        """Half of all requests are about what there is; none waits for a run that was put off."""
        if uuid.uuid4().int % 2 and case.method != "DELETE":
            case.path_parameters = {
                **case.path_parameters,
                **{k: v for k, v in self.ids.items() if k in case.path_parameters},
            }
        body = case.body
        if isinstance(body, dict):
            if "after_seconds" in body:
                body.pop("after_seconds")
            if isinstance(body.get("assistant_id"), str) and uuid.uuid4().int % 2:
                body["assistant_id"] = "echo"
            if isinstance(body.get("graph_id"), str) and uuid.uuid4().int % 2:
                body["graph_id"] = "echo"
        elif isinstance(body, list):
            for entry in body:
                if isinstance(entry, dict):
                    entry.pop("after_seconds", None)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_generated_request_gets_a_server_error_or_an_answer_that_is_not_documented(
    server: LiveServer, document: dict[str, Any]
) -> None:
    known = Known(server.url)
    schema = schemathesis.openapi.from_dict(document)
    operations = [
        operation
        for result in schema.get_all_operations()
        if (operation := result.ok()).path not in ENDLESS and not operation.path.startswith(PROTOCOLS)
    ]
    assert len(operations) > 40
    each = max(1, EXAMPLES // (2 * len(operations)))
    wrong: list[str] = []
    sent = 0
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                sent += examine(operation, mode, each, known)
            except Exception as error:  # all operations are looked at before the verdict
                if "Unsatisfiable" not in type(error).__name__:
                    wrong.append(f"{operation.method.upper()} {operation.path}: {error}"[:1500])
    assert not wrong, "\n\n".join(wrong)
    assert sent >= EXAMPLES / 2


def examine(operation: Any, mode: GenerationMode, examples: int, known: Known) -> int:
    sent = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: schemathesis.Case) -> None:
        nonlocal sent
        sent += 1
        known.fill(case)
        answer = case.call(base_url=known.url, timeout=ANSWER_S)
        assert answer.status_code < 500 or answer.status_code in (503, 504), answer.text
        case.validate_response(answer, checks=CHECKS)

    one()
    return sent
