"""The documents under docs/contracts match the types, and are valid documents of their kind."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from langlog_schemas import commands as cmd
from langlog_schemas import events as ev
from langlog_schemas import snapshots
from langlog_schemas.contracts import TOPICS, document_types, documents, is_packed

from tests.consuming.golden import bytes_of
from tests.stack.node_package import installed

FOLDER = Path(__file__).parents[2] / "docs" / "contracts"
LIMIT_S = 180


def read(path: str) -> Any:
    return msgspec.json.decode((FOLDER / path).read_bytes())


def test_the_documents_are_what_the_types_give() -> None:
    made = documents(version("langlog"))
    for path, text in made.items():
        file = FOLDER / path
        assert file.exists() and file.read_text() == text, (
            f"{path}: run python -m langlog_schemas.contracts docs/contracts"
        )
    kept = {f"schemas/{file.name}" for file in (FOLDER / "schemas").iterdir()} | {"asyncapi.json"}
    assert kept == set(made)


def test_every_topic_and_type_is_in_the_asyncapi_document() -> None:
    document = read("asyncapi.json")
    assert set(document["channels"]) == set(TOPICS) == {cmd.TOPIC, *ev.EVENT_TOPICS, ev.DEAD_LETTERS, snapshots.TOPIC}
    published = {name for channel in document["channels"].values() for name in channel["messages"]}
    assert published == {*cmd.COMMANDS, *ev.EVENTS, *snapshots.SNAPSHOTS, "dead-letter"}


def test_the_asyncapi_document_passes_the_official_parser() -> None:
    folder = installed(Path(__file__).parent / "js")
    command = ["node", "validate.js", str(FOLDER / "asyncapi.json")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if line.startswith(("0 ", "1 "))]
    assert errors == [], done.stdout


@pytest.mark.parametrize("type", sorted(document_types()))
def test_golden_records_fit_their_schema_and_their_headers(type: str) -> None:
    schema = read(f"schemas/{type}.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    headers = {"$ref": "#/components/schemas/CloudEvent", "components": read("asyncapi.json")["components"]}
    for record in read(f"golden/{type}.json")["records"]:
        if is_packed(type):
            body = msgspec.to_builtins(msgspec.msgpack.decode(bytes_of(record)))  # bytes become base64, as in JSON
        else:
            body = msgspec.json.decode(bytes_of(record))
        jsonschema.Draft202012Validator(schema).validate(body)
        jsonschema.Draft202012Validator(headers).validate(record["headers"])
