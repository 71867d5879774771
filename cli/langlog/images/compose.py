"""Compose files of a project: all services of langlog from its image, with Kafka, Postgres and Redis beside them.

``services.yaml`` in this folder has what is the same for every project; a test holds it to compose.yaml of the repository.
Source: https://docs.docker.com/reference/compose-file/
"""

from __future__ import annotations

import copy
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from langlog_backbone.project.config import Project

from .dockerfile import Recipe

OURS = ("gateway", "executor", "projector", "scheduler")
IN_CONTAINER = 2024
"""Port of the gateway inside the container."""
ENV_FILE = """\
# Variables of the project, and keys of its models: compose gives them to gateway, executor and scheduler.
# OPENAI_API_KEY=
"""


def compose(
    project: Project,
    *,
    port: int,
    image: str,
    build: dict[str, Any] | None = None,
    postgres_uri: str | None = None,
    env_file: str | None = None,
    watch: bool = False,
) -> dict[str, Any]:
    """Return the content of a compose file. ``port``: on this machine, reached from it alone; ``build``: None for an image that is there.

    ``postgres_uri``: in place of a Postgres in a container; ``env_file``: in place of ``env`` in langgraph.json.
    """
    content: dict[str, Any] = yaml.safe_load((files("langlog.images") / "services.yaml").read_text(encoding="utf-8"))
    services = content["services"]
    if postgres_uri is not None:
        del services["postgres"], content["volumes"]["postgres"]
    for name in OURS:
        service = services[name]
        service["image"] = image
        if build is not None:
            service["build"] = copy.deepcopy(build)
            service["pull_policy"] = "build"
        if postgres_uri is not None:
            service["environment"]["DATABASE_URI"] = escaped(postgres_uri)
            del service["depends_on"]["postgres"]
        if name != "projector":
            _give_environment(service, project, env_file)
        if watch:
            service["develop"] = {"watch": [{"path": path, "action": "rebuild"} for path in _watched(project)]}
    services["gateway"]["ports"] = [f"127.0.0.1:{port}:{IN_CONTAINER}"]
    return content


def _give_environment(service: dict[str, Any], project: Project, env_file: str | None) -> None:
    env = project.config.get("env")
    if env_file is not None:
        service["env_file"] = [env_file]
    elif isinstance(env, str):
        service["env_file"] = [{"path": str((project.root / env).resolve()), "required": False}]
    elif isinstance(env, list):
        service["environment"].update({str(name): None for name in env})  # of the shell that calls compose
    else:
        own = service["environment"]
        service["environment"] = {**{name: escaped(text) for name, text in project.environment().items()}, **own}


def escaped(text: str) -> str:
    """Return text with compose's variables escaped."""
    return text.replace("$", "$$")


def _watched(project: Project) -> list[str]:
    from ..projects.folders import folders

    return [str(project.file), *(str(folder.path) for folder in folders(project).local)]


def inline_build(made: Recipe, *, pull: bool) -> dict[str, Any]:
    """Return ``build`` of a service, with the Dockerfile inline."""
    return {
        "context": str(made.context),
        "dockerfile_inline": escaped(made.dockerfile),
        **({"additional_contexts": {name: str(path) for name, path in made.contexts.items()}} if made.contexts else {}),
        **({"pull": True} if pull else {}),
    }


class _Dumper(yaml.SafeDumper):
    """Dumps text of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def write_beside(file: Path, project: Project, made: Recipe) -> list[str]:
    """Write docker-compose.yml, .dockerignore and .env beside a Dockerfile; return a line for each. Raises OSError.

    What is there stays, but for docker-compose.yml, which is made from the same project anew.
    """
    lines: list[str] = []
    folder = file.absolute().parent
    build: dict[str, Any] = {
        "context": _relative(made.context, folder),
        "dockerfile": _relative(file.absolute(), made.context),
    }
    if made.contexts:
        build["additional_contexts"] = {name: _relative(path, folder) for name, path in made.contexts.items()}
    content = compose(project, port=8123, image=f"{project_name(project)}:latest", build=build, env_file=".env")
    (folder / "docker-compose.yml").write_text(as_yaml(content), encoding="utf-8")
    lines.append(f"wrote {folder / 'docker-compose.yml'}")
    for path, text in ((made.context / ".dockerignore", "\n".join(made.ignored) + "\n"), (folder / ".env", ENV_FILE)):
        if path.exists():
            lines.append(f"left {path} as it is")
        else:
            path.write_text(text, encoding="utf-8")
            lines.append(f"wrote {path}")
    return lines


def project_name(project: Project) -> str:
    """Return the name of the compose project and of its image: the folder's, in characters that both allow."""
    name = re.sub(r"[^a-z0-9]+", "-", project.root.name.lower()).strip("-")
    return name or "langlog"


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)
