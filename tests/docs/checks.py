"""Checks of a block without running it: that it parses, and that the names in it exist."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import click
import yaml
from langlog.main import cli
from langlog.projects.keys import keys_without_effect, unknown_keys
from langlog_backbone.process.environment import FILE_SUFFIX, SECRETS, VARIABLES

from .blocks import Block

VARIABLE = re.compile(r"\bLANGLOG_[A-Z0-9_]*[A-Z0-9]\b")
NAMES = {name for names in VARIABLES.values() for name in names}
NAMES |= {name + FILE_SUFFIX for field in SECRETS for name in VARIABLES[field]}
DOCKERFILE = {"FROM", "USER", "COPY", "RUN", "ENV", "WORKDIR", "ENTRYPOINT", "CMD", "EXPOSE", "ARG"}
SHELL_WORDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1", "#"}
FENCE_KINDS = {"text", "mermaid", "tsx"}
"""Kinds without checks: output of programs, pictures, and sources of web pages, which tests of their own render."""


def check(block: Block, schemas: dict[str, Any]) -> None:
    """Raises AssertionError, or the error of the parser. ``schemas``: those of the OpenAPI document, by name."""
    match block.language:
        case "python":
            compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        case "json":
            fits_json(block, schemas)
        case "yaml":
            for document in yaml.safe_load_all(block.text):
                for command in commands_of_yaml(document):
                    resolves(command)
        case "toml":
            tomllib.loads(block.text)
        case "ini":
            unit = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
            unit.optionxform = str  # type: ignore[assignment,method-assign]
            unit.read_string(block.text)
            for section in unit.values():
                if start := section.get("ExecStart"):
                    for service in ("gateway", "executor", "projector", "scheduler"):
                        resolves(["langlog", *shlex.split(start.replace("%i", service))[1:]])
        case "dockerfile":
            joined = block.text.replace("\\\n", " ")
            for line in filter(str.strip, joined.splitlines()):
                assert line.startswith("#") or line.split()[0] in DOCKERFILE, f"{block}: {line}"
        case "sh" | "console":
            script = shell(block)
            done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}: {done.stderr}"
            for command in commands_of_shell(script):
                resolves(command)
        case language:
            assert language in FENCE_KINDS, f"{block}: name the block's language (text for what a program prints)"
    for name in VARIABLE.findall(block.text):
        assert name in NAMES, f"{block}: there is no setting {name}"


def shell(block: Block) -> str:
    """The commands of a block: all of it, or in what a terminal shows, what follows ``$``."""
    if block.language == "sh":
        return block.text
    return "\n".join(line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ "))


def fits_json(block: Block, schemas: dict[str, Any]) -> None:
    value = json.loads(block.text)
    name = "langgraph.json" if block.title == "langgraph.json" else block.says("fits")
    if name is None:
        return
    if name == "langgraph.json":
        assert list(unknown_keys(value)) == [], f"{block}: unknown keys"
        assert list(keys_without_effect(value)) == [], f"{block}: keys without effect"
        return
    from jsonschema import Draft202012Validator

    name, array = name.removesuffix("[]"), name.endswith("[]")
    schema: dict[str, Any] = {"$ref": f"#/components/schemas/{name}"}
    reference = {**({"type": "array", "items": schema} if array else schema), "components": {"schemas": schemas}}
    assert name in schemas, f"{block}: the OpenAPI document has no schema {name}"
    Draft202012Validator(reference).validate(value)


def commands_of_shell(script: str) -> Iterator[list[str]]:
    """Return every command of langlog in a script: its words up to the next operator of the shell."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True) if "langlog" in line else []
        for at, word in enumerate(words):
            if word == "langlog" and (at == 0 or words[at - 1] in SHELL_WORDS or "=" in words[at - 1]):
                end = next((i for i, x in enumerate(words[at:], at) if x in SHELL_WORDS), len(words))
                yield words[at:end]


def commands_of_yaml(value: Any) -> Iterator[list[str]]:
    """Arguments of containers whose image is langlog's (``command`` of compose, ``args`` of Kubernetes)."""
    if isinstance(value, list):
        for entry in value:
            yield from commands_of_yaml(entry)
    elif isinstance(value, dict):
        given = value.get("args", value.get("command"))
        if isinstance(given, list) and given and str(given[0]) in cli.commands:
            yield ["langlog", *map(str, given)]
        for entry in value.values():
            yield from commands_of_yaml(entry)


def resolves(words: list[str]) -> None:
    """Raises AssertionError unless langlog has this command and each of its options. Nothing is carried out."""
    command: click.Command = cli
    name, *rest = words
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command, name, rest = command.commands[rest[0]], f"{name} {rest[0]}", rest[1:]
    if isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        raise AssertionError(f"langlog has no command {' '.join(words)!r}")
    context = click.Context(command, info_name=name, resilient_parsing=True)
    try:
        command.make_parser(context).parse_args(list(rest))
    except click.UsageError as error:
        raise AssertionError(f"{' '.join(words)}: {error.format_message()}") from error
