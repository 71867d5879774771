"""Compose files of projects: the services of compose.yaml, with the project's image and variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from langlog.images.compose import OURS, as_yaml, compose, inline_build
from langlog.images.dockerfile import recipe
from langlog.images.up import up_options
from langlog.main import cli
from langlog_backbone.project.config import read_project

from .projects import instructions, project

ROOT = Path(__file__).parents[2]
PROJECTS_OWN = ("gateway", "executor", "scheduler")


def services(file: Path, **more: Any) -> dict[str, Any]:
    content = yaml.safe_load(as_yaml(compose(read_project(file), port=8123, image="app:latest", **more)))
    assert isinstance(content, dict)
    return content["services"]  # type: ignore[no-any-return]


def test_the_services_are_those_of_compose_yaml(tmp_path: Path) -> None:
    theirs = yaml.safe_load((ROOT / "compose.yaml").read_text())
    content = yaml.safe_load(as_yaml(compose(read_project(project(tmp_path)), port=8123, image="app:latest")))
    assert content["volumes"] == theirs["volumes"]
    for name, service in theirs["services"].items():
        ours = content["services"][name]
        for key in ("image", "build", "ports"):
            service.pop(key, None)
            ours.pop(key, None)
        if name in OURS:
            for variable in ("CHAT_MODEL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):  # of the example project
                service["environment"].pop(variable, None)
        assert ours == service | ({} if name in OURS else {"image": ours["image"]} if "image" in ours else {}), name


def test_each_of_our_services_runs_the_projects_image_and_is_reached_from_this_machine_alone(tmp_path: Path) -> None:
    made = services(project(tmp_path))
    assert {made[name]["image"] for name in OURS} == {"app:latest"}
    assert made["gateway"]["ports"] == ["127.0.0.1:8123:2024"]
    assert [name for name in made if "ports" in made[name]] == ["gateway"]
    assert not any("build" in made[name] for name in OURS)


def test_the_dockerfile_is_built_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    file = project(tmp_path, dependencies=[".", "../shared"], dockerfile_lines=["RUN echo $HOME"])
    result = recipe(read_project(file))
    made = services(file, build=inline_build(result, pull=True))
    build = made["executor"]["build"]
    inline = build["dockerfile_inline"].replace("$$", "$")
    assert instructions(inline) == instructions(result.dockerfile)
    assert build["additional_contexts"] == {"shared": str(tmp_path / "shared")}
    assert (build["context"], build["pull"]) == (str(file.parent), True)


@pytest.mark.parametrize(
    ("env", "environment", "files"),
    [
        ({"A": "x$y", "N": 1, "LOG_URI": "no"}, {"A": "x$$y", "N": "1"}, None),
        (["OPENAI_API_KEY"], {"OPENAI_API_KEY": None}, None),
        (".env", {}, ".env"),
    ],
)
def test_variables_of_the_project_reach_what_runs_its_code(
    tmp_path: Path, env: Any, environment: dict[str, Any], files: str | None
) -> None:
    file = project(tmp_path, env=env)
    made = services(file)
    for name in PROJECTS_OWN:
        own = made[name]["environment"]
        assert {key: own.get(key, ...) for key in environment} == environment
        assert own["LOG_URI"] == "kafka://kafka:9092"
        path = str(file.parent / ".env")
        assert made[name].get("env_file") == ([{"path": path, "required": False}] if files else None)
    assert not {"A", "OPENAI_API_KEY"} & set(made["projector"]["environment"])


def test_a_postgres_of_ones_own_replaces_the_container(tmp_path: Path) -> None:
    uri = "postgresql://u:p$1@db.example/x"
    made = services(project(tmp_path), postgres_uri=uri)
    assert "postgres" not in made
    for name in OURS:
        assert made[name]["environment"]["DATABASE_URI"] == uri.replace("$", "$$")
        assert set(made[name]["depends_on"]) == {"kafka", "redis"}


def test_watched_are_langgraph_json_and_its_folders(tmp_path: Path) -> None:
    file = project(tmp_path, dependencies=[".", "../shared"])
    watch = services(file, watch=True)["executor"]["develop"]["watch"]
    assert [x["path"] for x in watch] == [str(file), str(file.parent), str(tmp_path / "shared")]
    assert {x["action"] for x in watch} == {"rebuild"}


def test_options_of_compose() -> None:
    assert up_options(build=True, pull=True, recreate=False) == ["--build"]
    assert up_options(build=False, pull=True, recreate=True) == [
        *("--pull", "always", "--force-recreate", "--renew-anon-volumes")
    ]


def test_files_beside_a_dockerfile(tmp_path: Path) -> None:
    file = project(tmp_path)
    target = file.parent / "Dockerfile"
    arguments = ["dockerfile", str(target), "-c", str(file), "--add-docker-compose"]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    content = yaml.safe_load((file.parent / "docker-compose.yml").read_text())
    assert content["services"]["gateway"]["build"] == {"context": ".", "dockerfile": "Dockerfile"}
    assert content["services"]["executor"]["env_file"] == [".env"]
    assert "**/.env" in (file.parent / ".dockerignore").read_text().splitlines()
    (file.parent / ".env").write_text("KEY=1")
    again = CliRunner().invoke(cli, arguments)
    assert f"left {file.parent / '.env'} as it is" in again.output
    assert (file.parent / ".env").read_text() == "KEY=1"


def test_watch_and_image_exclude_each_other(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["up", "--watch", "--image", "x", "-c", str(project(tmp_path))])
    assert result.exit_code == 2
    assert "give one of them" in result.output
