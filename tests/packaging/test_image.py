"""The Dockerfile, line by line, as a parser reads it. tests/images/test_real_build.py builds it where that can be done."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
from langlog.main import cli
from langlog_backbone.process.environment import VARIABLES, read_settings

from tests.images.projects import instructions

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SETTINGS = {name for names in VARIABLES.values() for name in names}
Lines = list[tuple[str, str]]


def stages() -> dict[str, Lines]:
    """Name of a stage -> its instructions, ``FROM`` first."""
    result: dict[str, Lines] = {}
    for name, value in instructions(DOCKERFILE):
        if name == "FROM":
            lines = result.setdefault(value.split(" AS ")[1], [])
        elif not result:
            continue
        lines.append((name, value))
    return result


STAGES = stages()
SERVED = ("services", "server")
"""Stages that are started."""


def values(stage: str, instruction: str) -> list[str]:
    return [value for name, value in STAGES[stage] if name == instruction]


def variables(stage: str) -> dict[str, str]:
    return dict(word.split("=", 1) for value in values(stage, "ENV") for word in shlex.split(value))


def test_each_stage_begins_at_the_same_python_for_every_platform() -> None:
    bases = {name: lines[0][1].split(" AS ")[0] for name, lines in STAGES.items()}
    assert bases == {
        "built": "--platform=$BUILDPLATFORM ${PYTHON_IMAGE}",
        "packages": "${PYTHON_IMAGE}",
        "wheels": "packages",
        "services": "packages",
        "server": "packages",
    }
    arguments = [value for name, value in instructions(DOCKERFILE) if name == "ARG"]
    assert arguments == ["PYTHON_VERSION=3.12", "PYTHON_IMAGE=python:${PYTHON_VERSION}-slim"]
    assert not re.search(r"amd64|arm64|x86_64|aarch64", DOCKERFILE)


def test_a_plain_build_gives_the_image_that_projects_are_built_on() -> None:
    assert list(STAGES)[-1] == "server"


def test_the_build_copies_what_is_there_and_what_its_context_holds() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        source
        for stage in STAGES
        for value in values(stage, "COPY")
        if "--from=" not in value
        for source in value.removeprefix("--chmod=755 ").split()[:-1]
    ]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == line[1:] or source.startswith(f"{line[1:]}/") for line in ignore if line[0] == "!"), source
    for folder in {x.parent.parent.name for x in ROOT.glob("*/langlog*/__init__.py")}:
        assert f"{folder} {folder}" in values("wheels", "COPY")
    assert set(copied) >= {
        "hatch_build.py",
        "node_build.py",
        "console",
        "executor/graph-host",
        "core",
        "deploy/image/api",
        "deploy/image/start",
    }


def test_dependencies_are_locked_and_in_layers_without_our_sources() -> None:
    sources = {x.parent.parent.name for x in ROOT.glob("*/langlog*/__init__.py")}
    assert not {word for value in values("packages", "COPY") for word in value.split()} & sources
    installs = [value for stage in ("packages", *SERVED) for value in values(stage, "RUN") if "install" in value]
    assert len(installs) == 4
    for value in installs:
        for command in (x for x in value.split("&&") if "install" in x):
            assert "-c constraints.txt" in command or ("--no-deps" in command and "/wheels/" in command), command
    excluded = (ROOT / "core" / "embedded.txt").read_text().split()
    assert "--excludes core/embedded.txt" in values("packages", "RUN")[-1]
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert all(any(line.startswith(name) for line in named) for name in excluded)


@pytest.mark.parametrize("stage", SERVED)
def test_variables_are_settings_that_can_be_read(stage: str) -> None:
    found = variables(stage)
    assert set(found) - SETTINGS == {"PYTHONUNBUFFERED"}
    settings = read_settings(found)
    assert (settings.host, settings.health_port) == ("0.0.0.0", 8080)
    ports = {int(port) for value in values(stage, "EXPOSE") for port in value.split()}
    assert ports == {settings.port, settings.health_port}


@pytest.mark.parametrize("stage", SERVED)
def test_its_health_is_asked_by_a_command_of_langlog(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = values(stage, "HEALTHCHECK")
    words = json.loads(check.partition("CMD ")[2])
    assert words[0] == "langlog"
    monkeypatch.setenv("LANGLOG_HEALTH_PORT", variables(stage)["LANGLOG_HEALTH_PORT"])
    command = cli.commands[words[1]]
    command.make_context(words[1], words[2:], parent=click.Context(cli))


def test_services_run_as_a_user_of_their_own() -> None:
    assert values("services", "USER") == ["langlog"]
    assert json.loads(values("services", "ENTRYPOINT")[0]) == ["langlog"]
    assert values("services", "VOLUME") == []
    assert variables("services")["LANGLOG_PROJECT"] == "/project/langgraph.json"


def test_the_base_of_projects_keeps_data_on_a_volume_and_serves_with_no_argument() -> None:
    data = variables("server")["LANGLOG_DATA_DIR"]
    assert values("server", "VOLUME") == [data]
    assert f"chown langlog:langlog {data}" in " ".join(values("server", "RUN"))
    words = json.loads(values("server", "CMD")[0])
    cli.commands[words[0]].make_context(words[0], words[1:], parent=click.Context(cli))
    assert "LANGLOG_PROJECT" not in variables("server"), (
        "an image of `langgraph build` names its graphs by LANGSERVE_GRAPHS"
    )


def test_the_base_has_what_langgraph_build_asks_for() -> None:
    text = " ".join(value for stage in ("packages", "server") for value in values(stage, "RUN"))
    assert "> /api/constraints.txt" in text
    assert "/tmp/uv/bin/uv /tmp/uv/bin/uvx /usr/bin/" in text
    assert "deploy/image/api /api" in values("server", "COPY")
    project = tomllib.loads((ROOT / "deploy/image/api/pyproject.toml").read_text())
    assert (ROOT / "deploy/image/api/src" / project["project"]["name"].replace("-", "_") / "__init__.py").is_file()


def test_the_start_leaves_root_and_is_plain_shell() -> None:
    start = ROOT / "deploy" / "image" / "start"
    assert os.access(start, os.X_OK)
    assert subprocess.run(["sh", "-n", start]).returncode == 0
    text = start.read_text()
    assert text.index("setpriv --reuid=langlog") < text.index('exec langlog "$@"')
    assert json.loads(values("server", "ENTRYPOINT")[0]) == ["start-langlog"]


def test_node_is_installed_where_langgraph_build_calls_it() -> None:
    assert "--chmod=755 deploy/image/install-node.sh /storage/install-node.sh" in values("server", "COPY")
    assert subprocess.run(["sh", "-n", ROOT / "deploy" / "image" / "install-node.sh"]).returncode == 0


def test_the_user_has_the_number_that_images_of_projects_set() -> None:
    from langlog.images.dockerfile import USER

    made = re.search(r"groupadd --gid (\d+) langlog && useradd --create-home --uid (\d+)", DOCKERFILE)
    assert made
    assert f"{made[2]}:{made[1]}" == USER
