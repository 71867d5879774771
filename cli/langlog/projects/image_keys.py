"""Keys of ``langgraph.json`` about the build of an image, as types.

Source: the configuration of the LangGraph CLI (``langgraph_cli.schemas.Config``, MIT), as published with its JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from langlog_backbone.project.node import OLDEST_NODE

from .problems import Problem

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Python versions that langlog supports."""
DEFAULT_PYTHON = "3.12"
DEFAULT_NODE = "24"
"""Of a project with JavaScript that names none: the newest with long-term support."""
PACKAGE_TOOLS = ("pip", "setuptools", "wheel")
_CREDENTIALS = re.compile(r"https?://[^/\s\"']*@", re.IGNORECASE)
_PACKAGE = re.compile(r"\.?\.?\Z|(?!\s*([-#]|\Z))[^\x00-\x1f]+\Z")
IMAGE_NAME = re.compile(r"[A-Za-z0-9][\w.:/@-]{0,511}", re.ASCII)
"""Pattern of an image reference, without characters that have another meaning in a Dockerfile."""
_MAJOR = re.compile(r"\d{1,3}", re.ASCII)
_TAGGED = re.compile(r":[\w.-]+(@[\w:]+)?$|@[\w:]+$")
OTHER_SERVERS = ("langchain/langgraph-", "langchain/langgraphjs-")
"""Prefixes of images with another server."""
INSTRUCTIONS = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
"""https://docs.docker.com/reference/dockerfile/"""


class UvSource(msgspec.Struct, frozen=True):
    """``source``: the project is installed from its uv.lock."""

    kind: Literal["uv"]
    root: str = "."
    """Folder of pyproject.toml and uv.lock, from the folder of langgraph.json."""
    package: str | None = None
    """Member of a workspace."""


class ImageKeys(msgspec.Struct, frozen=True, kw_only=True):
    python_version: str = DEFAULT_PYTHON
    node_version: str | None = None
    api_version: str | None = None
    base_image: str | None = None
    image_distro: Literal["debian", "bookworm", "wolfi"] | None = None
    pip_config_file: str | None = None
    pip_installer: Literal["auto", "pip", "uv"] | None = None
    source: UvSource | None = None
    dockerfile_lines: list[str] = []
    dependencies: list[str] = []
    keep_pkg_tools: bool | list[Literal["pip", "setuptools", "wheel"]] | None = None
    package_manager: str | None = None

    @property
    def removed_tools(self) -> tuple[str, ...]:
        """Packaging tools that are removed from the finished image."""
        if isinstance(self.keep_pkg_tools, list):
            return tuple(tool for tool in PACKAGE_TOOLS if tool not in self.keep_pkg_tools)
        return () if self.keep_pkg_tools else PACKAGE_TOOLS

    @property
    def installer(self) -> Literal["pip", "uv"]:
        """uv, or pip if the project has a configuration of pip, which uv does not read."""
        if self.pip_installer in ("pip", "uv"):
            return self.pip_installer
        return "pip" if self.pip_config_file else "uv"

    def base(self, name: str | None = None) -> str:
        """Return the base image; ``name`` takes precedence over the key. A name with a tag or a digest is used unchanged.

        Another one gets the LangGraph CLI's tag: the Python version, and the distribution if it is not the default.
        """
        given = name or (None if self.is_other_server else self.base_image) or "langlog"
        if _TAGGED.search(given):
            return given
        distro = self.image_distro if self.image_distro != "wolfi" or given != "langlog" else None
        return f"{given}:{self.python_version}" + ("" if distro in (None, "debian") else f"-{distro}")

    @property
    def is_other_server(self) -> bool:
        """Whether ``base_image`` is LangGraph's own server."""
        name = (self.base_image or "").removeprefix("docker.io/")
        return name.startswith(OTHER_SERVERS)


def image_keys(config: Mapping[str, Any]) -> ImageKeys:
    """Return the keys. Raises msgspec.ValidationError."""
    given = {name: value for name, value in config.items() if name in ImageKeys.__struct_fields__ and value is not None}
    return msgspec.convert(given, ImageKeys)


def image_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield problems of these keys' values, without reading any file."""
    sound: dict[str, Any] = {}
    for name in ImageKeys.__struct_fields__:
        if config.get(name) is None:
            continue
        try:
            msgspec.convert({name: config[name]}, ImageKeys)
            sound[name] = config[name]
        except msgspec.ValidationError as error:
            yield Problem("error", name, f"{config[name]!r}: {wording(error, name)}")
    keys = msgspec.convert(sound, ImageKeys)
    if keys.python_version not in PYTHONS:
        yield Problem(
            "error",
            "python_version",
            f"{keys.python_version!r} is not a Python that langlog runs on: give one of {', '.join(PYTHONS)}",
        )
    if keys.base_image and not IMAGE_NAME.fullmatch(keys.base_image):
        yield Problem("error", "base_image", f"{keys.base_image!r} is not the name of an image")
    if keys.is_other_server:
        yield Problem(
            "warning",
            "base_image",
            f"{keys.base_image!r} holds another server: langlog builds on {keys.base()!r}, or what --base-image names",
        )
    if keys.image_distro == "wolfi" and (keys.base_image is None or keys.is_other_server):
        yield Problem("note", "image_distro", "'wolfi' has no effect: langlog's own base image is made from Debian")
    if keys.node_version is not None and not (
        _MAJOR.fullmatch(keys.node_version) and int(keys.node_version) >= OLDEST_NODE
    ):
        yield Problem(
            "error",
            "node_version",
            f"{keys.node_version!r} is not a Node that langlog runs graphs on: give a major version from {OLDEST_NODE} on, "
            f'as in "{DEFAULT_NODE}"',
        )
    if keys.api_version:
        yield Problem(
            "note", "api_version", f"{keys.api_version!r} has no effect: the base image determines which langlog runs"
        )
    if keys.pip_config_file and keys.pip_installer == "uv":
        yield Problem(
            "warning",
            "pip_config_file",
            "uv does not read pip's configuration: leave pip_installer out, or make it 'pip'",
        )
    if keys.source is not None and keys.dependencies:
        yield Problem(
            "error",
            "dependencies",
            "with source.kind 'uv' packages come from uv.lock: remove 'dependencies', or 'source'",
        )
    yield from _package_problems(keys.dependencies)
    yield from _line_problems(keys.dockerfile_lines)


def _package_problems(names: list[str]) -> Iterator[Problem]:
    for name in names:
        if _CREDENTIALS.search(name):
            yield Problem(
                "error",
                "dependencies",
                "an address has a name or a password in it, which the image would keep: leave it out, "
                "and give the build a credential helper, or pip_config_file",
            )
        elif not name.startswith(("./", "../", "/")) and not _PACKAGE.match(name):
            yield Problem("error", "dependencies", f"{name!r} is neither a package nor a folder")


def _line_problems(lines: list[str]) -> Iterator[Problem]:
    """Yield lines that do not begin an instruction. Bodies of here-documents are skipped."""
    goes_on = False
    ends: list[str] = []
    for line in "\n".join(lines).splitlines():
        text = line.strip()
        if ends:
            ends = ends[1:] if text == ends[0] else ends
            continue
        if not text or text.startswith("#"):
            continue
        word = text.split()[0]
        if not goes_on and word.upper() not in INSTRUCTIONS:
            yield Problem("error", "dockerfile_lines", f"{line!r} does not begin with an instruction of a Dockerfile")
        if word.upper() in ("RUN", "COPY", "ADD"):
            ends = re.findall(r"(?<!<)<<-?[\"']?(\w+)[\"']?", text)
        goes_on = text.endswith("\\")
    # either would swallow the lines that follow, which copy the project
    if ends:
        yield Problem("error", "dockerfile_lines", f"no line {ends[0]!r} ends the here-document")
    elif goes_on:
        yield Problem("error", "dockerfile_lines", "the last line ends with a backslash, and no line follows")


def wording(error: msgspec.ValidationError, name: str) -> str:
    """Return msgspec's message, with the key in place of its path."""
    return str(error).replace(f"`$.{name}", f"`{name}").replace("`$.", "`").replace(" - at `$`", "")
