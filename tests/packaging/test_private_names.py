"""Private names of dependencies that langlog uses: each is listed here, exists, and has an upper bound on its distribution.

When a test here fails after an upgrade, its id is the changed name and its message names the file that uses it.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.stack.syntax import parsed

ROOT = Path(__file__).parents[2]
SOURCES = ("schemas", "backbone", "gateway", "executor", "projector", "scheduler", "cli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

NAMES = {
    "aiohttp": (
        "aiohttp.web:PlainResource._match",
        "aiohttp.web:DynamicResource._match",
        "aiohttp.web:Application._make_request",
        "aiohttp.web:BaseRequest._payload_writer",
        "aiohttp.web:BaseRequest._read_bytes",
    ),
    "aiokafka": (
        "aiokafka:AIOKafkaProducer._closed",
        "aiokafka:AIOKafkaProducer._message_accumulator",
        "aiokafka:AIOKafkaProducer._sender",
        "aiokafka.producer.message_accumulator:MessageAccumulator.fail_all",
        "aiokafka.producer.sender:Sender.sender_task",
        "aiokafka:AIOKafkaConsumer._client",
        "aiokafka:AIOKafkaConsumer._closed",
        "aiokafka:AIOKafkaConsumer._coordinator",
        "aiokafka:AIOKafkaConsumer._fetcher",
        "aiokafka:AIOKafkaConsumer._group_id",
        "aiokafka:AIOKafkaConsumer._subscription",
        "aiokafka.consumer.fetcher:Fetcher.error_future",
        "aiokafka.consumer.subscription_state:SubscriptionState.abort_waiters",
        "aiokafka.consumer.group_coordinator:GroupCoordinator.coordinator_id",
        "aiokafka.consumer.group_coordinator:GroupCoordinator.group_id",
        "aiokafka.consumer.group_coordinator:GroupCoordinator.member_id",
        "aiokafka.consumer.fetcher:MemoryRecords",
        "aiokafka.consumer.fetcher:PartitionRecords",
        "aiokafka.protocol.group:LeaveGroupRequest",
        "aiokafka.record.memory_records:MemoryRecords",
        "aiokafka.record.util:decode_varint",
    ),
    "langgraph": (
        "langgraph._internal._config:ensure_config",
        "langgraph.pregel._algo:task_path_str",
        "langgraph.pregel._checkpoint:empty_checkpoint",
        "langgraph.pregel._read:PregelNode",
        "langgraph.pregel._retry:_should_retry_on",
        "langgraph.pregel._write:ChannelWrite",
        "langgraph.pregel._write:ChannelWriteEntry",
        "langgraph.pregel._write:PASSTHROUGH",
        "langgraph.types:Command._update_as_tuples",
    ),
    "langgraph-checkpoint": (
        "langgraph.checkpoint.base.id:_last_v6_timestamp",
        "langgraph.checkpoint.serde.jsonplus:_create_msgpack_ext_hook",
        "langgraph.checkpoint.serde.jsonplus:_msgpack_default",
        "langgraph.checkpoint.serde.jsonplus:_option",
    ),
    "langgraph-sdk": (
        "langgraph_sdk:Auth._authenticate_handler",
        "langgraph_sdk:Auth._global_handlers",
        "langgraph_sdk:Auth._handlers",
        "langgraph_sdk:Encryption._blob_decryptor",
        "langgraph_sdk:Encryption._blob_encryptor",
        "langgraph_sdk:Encryption._context_handler",
        "langgraph_sdk:Encryption._json_decryptor",
        "langgraph_sdk:Encryption._json_encryptor",
        "langgraph_sdk._async.client:get_asgi_transport",
        "langgraph_sdk.cache:_api_swr",
        "langgraph_sdk.cache:_cache_get",
        "langgraph_sdk.cache:_cache_set",
        "langgraph_sdk.runtime:_ExecutionRuntime",
        "langgraph_sdk.runtime:_ReadRuntime",
        "langgraph_sdk.runtime:_ServerRuntimeBase",
    ),
}
"""``module:name`` or ``module:class.member`` by distribution."""
OLD_SDK = Version(metadata.version("langgraph-sdk")) < Version("0.3.15")
OPTIONAL = ("langgraph_sdk.runtime:", "langgraph_sdk._async.client:", "langgraph_sdk.cache:") if OLD_SDK else ()
"""Modules that old releases of the SDK may lack; langlog does without them there."""
OWN = {"_run", "_current_frames", "_enter_task", "_leave_task", "_set_running_loop"}
"""Private members of langlog's own classes, and of the standard library, that another module of langlog reads."""
LISTED = {x for names in NAMES.values() for name in names for x in name.partition(":")[2].split(".")} | {
    part for names in NAMES.values() for name in names for part in name.partition(":")[0].split(".")
}


@pytest.mark.parametrize("name", [name for names in NAMES.values() for name in names if not name.startswith(OPTIONAL)])
def test_a_private_name_that_we_use_is_where_it_was(name: str) -> None:
    module, _, path = name.partition(":")
    first, _, member = path.partition(".")
    result = vars(importlib.import_module(module))
    assert first in result, f"{name} has moved; used by {', '.join(_users(path))}"
    if member:
        assert member in _members(result[first]), f"{name} has moved; used by {', '.join(_users(member))}"


def test_every_private_name_that_we_use_is_listed() -> None:
    used = {name: file for name, file in (*_private_members(), *_private_imports()) if name not in OWN}
    assert {name: file for name, file in used.items() if name not in LISTED} == {}


@pytest.mark.parametrize("distribution", NAMES)
def test_a_distribution_whose_private_names_we_use_has_an_upper_bound(distribution: str) -> None:
    declared = next(x for x in map(Requirement, PROJECT["dependencies"]) if x.name == distribution)
    assert any(one.operator == "<" for one in declared.specifier), declared


def _members(owner: object) -> set[str]:
    """Attributes of the class, and those that its methods set."""
    assert isinstance(owner, type)
    methods = [x for kind in owner.__mro__ for x in vars(kind).values() if hasattr(x, "__code__")]
    return set(dir(owner)) | {name for method in methods for name in method.__code__.co_names}


def _files() -> Iterator[Path]:
    for source in SOURCES:
        yield from (ROOT / source).rglob("*.py")


def _users(name: str) -> list[str]:
    return [str(file.relative_to(ROOT)) for file in _files() if name in file.read_text()]


def _private_members() -> Iterator[tuple[str, str]]:
    """(name, file) of each private member that is read from outside its class, by ruff."""
    command = [
        "check",
        "--isolated",
        "--select",
        "SLF001",
        "--output-format",
        "json",
        "--exit-zero",
        "--ignore-noqa",
        *SOURCES,
    ]
    finished = subprocess.run(
        [str(Path(sys.executable).with_name("ruff")), *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for one in json.loads(finished.stdout):
        yield one["message"].split("`")[1], one["filename"]


def _private_imports() -> Iterator[tuple[str, str]]:
    """(name, file) of each private module or name that is imported from another distribution."""
    for file in _files():
        for node in ast.walk(parsed(file.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level and not (node.module or "").startswith("langlog"):
                for name in [*(node.module or "").split("."), *(alias.name for alias in node.names)]:
                    if name.startswith("_") and name != "__future__":
                        yield name, str(file)
