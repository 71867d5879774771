"""Checkpoints are encrypted by the key of ``LANGGRAPH_AES_KEY``, or by a project's own handlers, wherever it is stored."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langlog_backbone.process.environment import read_settings
from langlog_backbone.process.service import StartError
from langlog_backbone.process.setting_files import SettingError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import read_project
from langlog_executor.checkpoints.cipher import AesCipher, CheckpointCiphers, CheckpointUnreadable, checkpoint_ciphers
from langlog_executor.checkpoints.serde import pack, project_serializer, unpack

from tests.erasure.test_stores import files_with, stores_of
from tests.stack.server import LiveServer

SEALED = Path(__file__).parent / "sealed"
KEY = "0123456789abcdef"
FIRST, SECOND = "MARKER-OF-THE-KEY", "MARKER-OF-THE-HANDLERS"


async def converse(client: LangGraphClient, text: str, headers: dict[str, str] | None = None) -> str:
    """A thread with checkpoints that hold the text as input, in an interrupt, as an answer and in an update."""
    thread = await client.threads.create()
    thread_id = thread["thread_id"]
    asked: Any = await client.runs.wait(thread_id, "asks", input={"text": text}, headers=headers)
    assert asked["__interrupt__"][0]["value"] == f"what of {text}?"
    done = await client.runs.wait(thread_id, "asks", command={"resume": f"yes {text}"}, headers=headers)
    assert done == {"text": text, "answer": f"yes {text}"}
    await client.threads.update_state(thread_id, {"answer": f"no {text}"}, as_node="ask", headers=headers)
    await readable(client, thread_id, text)
    return thread_id


async def readable(client: LangGraphClient, thread_id: str, text: str) -> None:
    state: Any = await client.threads.get_state(thread_id)
    assert state["values"] == {"text": text, "answer": f"no {text}"}
    history = await client.threads.get_history(thread_id)
    assert [s["values"].get("answer") for s in history][:2] == [f"no {text}", f"yes {text}"]
    assert any(task["interrupts"] for s in history for task in s["tasks"])


async def stored(live: LiveServer, text: str) -> tuple[list[str], list[str]]:
    """Tables of checkpoints, and files of the log, that hold the text."""
    async with stores_of(live, live.data / "log") as stores:
        tables = [name for name in await stores.rows_with(text) if "checkpoint" in name]
        assert await stores.postgres.fetchval(f"SELECT count(*) FROM {Settings().projection}.checkpoint_blobs") > 0
    return tables, files_with(text, live.data.glob("log*"))


@pytest.mark.timeout(300)
async def test_checkpoints_are_encrypted_by_the_key_and_then_by_handlers_that_replace_it(tmp_path: Path) -> None:
    key = {"LANGGRAPH_AES_KEY": KEY}
    with LiveServer(SEALED / "langgraph.json", tmp_path, key).up() as live:
        async with get_client(url=live.url) as client:
            before = await converse(client, FIRST)
        assert await stored(live, FIRST) == ([], [])
    with LiveServer(SEALED / "handlers.json", tmp_path, key).up() as live:
        async with get_client(url=live.url, headers={"authorization": "ann"}) as client:
            await readable(client, before, FIRST)
            given = base64.b64encode(json.dumps({"rotated": True}).encode()).decode()
            thread_id = await converse(client, SECOND, {"x-encryption-context": given})
            (run, _) = await client.runs.list(thread_id)
            context = run["kwargs"]["config"]["configurable"]["langgraph_encryption_context"]  # type: ignore[typeddict-item]
            assert json.loads(context) == {"rotated": True, "tenant": "ann"}
            with pytest.raises(httpx.HTTPStatusError, match="X-Encryption-Context must be a JSON object in base64"):
                await client.runs.create(None, "asks", input={}, headers={"x-encryption-context": "nonsense"})
        assert await stored(live, SECOND) == ([], [])
        async with get_client(url=live.url, headers={"authorization": "bob"}) as client:
            await readable(client, thread_id, SECOND)  # the context that it was sealed with is there again
        async with get_client(url=live.url, headers={"authorization": "stranger"}) as client:
            failed: Any = await client.runs.wait(None, "asks", input={"text": "x"}, raise_error=False)
            assert failed["__error__"] == {"error": "PermissionError", "message": "stranger has no key"}


def test_the_key_is_one_more_master_key_and_turns_the_encryption_of_the_log_on() -> None:
    result = read_settings({"LANGGRAPH_AES_KEY": KEY})
    assert result.encryption == "on"
    assert len(base64.b64decode(result.master_key)) == 32
    both = read_settings({"LANGGRAPH_AES_KEY": KEY, "LANGLOG_MASTER_KEY": "own", "LANGLOG_ENCRYPTION": "read"})
    assert (both.encryption, both.master_key) == ("read", f"own,{result.master_key}")
    for length in (16, 24, 32):
        assert read_settings({"LANGGRAPH_AES_KEY": "k" * length}).aes_key == "k" * length


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"LANGGRAPH_AES_KEY": "short"}, "has 5 bytes: it must have 16, 24 or 32"),
        ({"LANGGRAPH_AES_KEY": KEY, "LANGLOG_ENCRYPTION": "off"}, "LANGLOG_ENCRYPTION is off"),
        ({"LANGGRAPH_AES_JSON_KEYS": "a"}, "LANGGRAPH_AES_JSON_KEYS is set"),
    ],
)
def test_a_key_that_would_not_encrypt_stops_the_start(environ: dict[str, str], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        read_settings(environ)


@pytest.mark.parametrize("value", [None, b"", b"bytes", "text", {"a": [1]}, "long " * 1_000])
def test_sealed_values_come_back_and_show_nothing(value: Any) -> None:
    serde = project_serializer(ciphers=CheckpointCiphers(AesCipher(KEY)))
    kind, data = pack(serde, value)
    assert kind.endswith("+aes")
    assert unpack(serde, kind, data) == value
    assert unpack(serde, *pack(project_serializer(), value)) == value, "stored before there was a key"
    with pytest.raises(CheckpointUnreadable, match="by another LANGGRAPH_AES_KEY"):
        unpack(project_serializer(ciphers=CheckpointCiphers(AesCipher("f" * 16))), kind, data)
    with pytest.raises(CheckpointUnreadable, match="by LANGGRAPH_AES_KEY, which is not configured now"):
        unpack(project_serializer(), kind, data)


def project(folder: Path, code: str, **section: Any) -> Path:
    (folder / "keys.py").write_text(code)
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"a": "./a.py:b"}, "encryption": {"path": "./keys.py:found", **section}}))
    return file


BLOBS = """
from langgraph_sdk import Encryption
found = Encryption()
@found.encrypt.blob
async def a(ctx, data):
    return data
"""
BOTH = BLOBS + "@found.decrypt.blob\nasync def b(ctx, data):\n    return data\n"
JSON = BOTH + "@found.encrypt.json\nasync def c(ctx, data):\n    return data\n"


@pytest.mark.parametrize(
    ("code", "encryption", "why"),
    [
        ("found = 1", "on", "is a int, not a langgraph_sdk.Encryption"),
        ("1 / 0", "on", "cannot be loaded: ZeroDivisionError"),
        (BLOBS, "on", "needs handlers for both encrypt.blob and decrypt.blob"),
        (JSON, "on", "needs handlers for both encrypt.json and decrypt.json, or for neither"),
        (BOTH, "off", "needs LANGLOG_ENCRYPTION=on"),
    ],
)
def test_handlers_that_would_leave_something_in_clear_stop_the_start(
    tmp_path: Path, code: str, encryption: Any, why: str
) -> None:
    with pytest.raises(StartError, match=why):
        checkpoint_ciphers(read_project(project(tmp_path, code)), Settings(encryption=encryption))


def test_handlers_for_json_are_left_out_once_the_project_says_that_it_knows(tmp_path: Path) -> None:
    ciphers = checkpoint_ciphers(read_project(project(tmp_path, JSON, json="clear")), Settings(encryption="on"))
    assert ciphers.open(*ciphers.seal("msgpack", b"a")) == ("msgpack", b"a")


def test_a_handler_that_gives_no_bytes_is_named(tmp_path: Path) -> None:
    code = BOTH.replace("return data", "return 'text'", 1)
    ciphers = checkpoint_ciphers(read_project(project(tmp_path, code)), Settings(encryption="on"))
    with pytest.raises(TypeError, match=r"encryption handler encrypt.blob gave str, not bytes"):
        ciphers.seal("msgpack", b"a")


@pytest.mark.parametrize("section", [{"path": 3}, {"path": "keys.py"}, {"paht": "keys.py:a"}, "keys.py:a"])
def test_a_section_that_names_no_object_stops_the_start(tmp_path: Path, section: Any) -> None:
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"a": "./a.py:b"}, "encryption": section}))
    with pytest.raises(StartError, match="'encryption' must be"):
        read_project(file)
