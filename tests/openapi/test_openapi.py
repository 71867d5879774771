"""The OpenAPI document: complete, and true.

True means: whatever is generated from it, no answer is a server error, and each has a status, a media type and a form that the
document names. ``OPENAPI_EXAMPLES`` sets how many requests (by default few enough for CI; 5,000 for a thorough run).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from tests.stack.server import LiveServer

PROJECT = Path(__file__).parents[1] / "contract" / "graphs" / "langgraph.json"
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "300"))
ANSWER_S = 120.0
ENDLESS = ("/threads/{thread_id}/stream", "/threads/{thread_id}/stream/events")
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
    found: dict[str, Any] = requests.get(f"{server.url}/openapi.json", timeout=ANSWER_S).json()
    return found


@pytest.mark.slow
def test_the_document_has_every_path_of_the_contract(document: dict[str, Any]) -> None:
    lines = (RECORDINGS / "system.jsonl").read_text().splitlines()
    recorded = [json.loads(line) for line in lines]
    paths = next(r["response"]["json"]["paths"] for r in recorded if r["request"]["path"] == "/openapi.json")
    # documented with a slash by the recorded server, and redirected from there to the path without
    missing = {path.replace("/mcp/", "/mcp") for path in paths} - document["paths"].keys()
    assert not missing


@pytest.mark.slow
def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = [
        (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(names) == len(set(names))
    bare = [path for method, path, operation in operations if operation["summary"] == f"{method.upper()} {path}"]
    assert not bare, "without an entry in operations.py"


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
