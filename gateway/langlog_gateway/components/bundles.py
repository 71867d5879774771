"""The bundles of the components that ``ui`` of langgraph.json names, made by Node with the project's own ``@langchain/langgraph-ui``.

Made at the start of each gateway, and again when the project changes; afterwards nothing is read from disk. Blocking: a reload calls
`bundled` on another thread. The other side: ``executor/graph-host/src/app/bundle.ts``.
"""

from __future__ import annotations

import gzip
import itertools
import os
import select
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Project
from langlog_backbone.project.hosted_code import REPORT_BYTES_MAX, end_process, host_program, spawn
from langlog_backbone.project.node import component_sources, find_node, missing_bundlers, missing_components, ui_library
from langlog_backbone.time.sources import monotonic

from ..console.files import File, made

BYTES_MAX = 64 * 1024 * 1024
"""Maximum size of all bundles: each gateway keeps them in memory."""

LINE_MAX = 2_000
"""Maximum length of an error, in characters: a bundler lists many."""

Bundles = Mapping[str, Mapping[str, File]]
"""Name in ``ui`` -> name of the file -> the file."""


class _Ui(msgspec.Struct):
    """``ui_config``. ``shared``: packages that the page brings, which no bundle holds."""

    shared: list[str] = []


class _Spec(msgspec.Struct, frozen=True):
    root: str
    output: str
    bundler: str
    defs: dict[str, str]
    shared: list[str]


class _Report(msgspec.Struct, frozen=True):
    done: bool = False
    refused: str = ""


def bundled(project: Project, settings: Settings) -> Bundles:
    """Return the bundles; empty for a project without ``ui``. Raises StartError with one line: what is missing, or does not build."""
    sources = component_sources(project)
    if not sources:
        return {}
    for key, fault in itertools.chain(missing_components(project), missing_bundlers(project)):
        raise StartError(f"{project.file}: {key}: {fault}")
    try:
        config = msgspec.convert(project.section("ui_config"), _Ui)
    except msgspec.ValidationError as error:
        raise StartError(f"{project.file}: ui_config: {error}") from None
    node = find_node(settings.node, "components of `ui` need")
    bundler = ui_library(project, next(iter(sources.values())))
    with tempfile.TemporaryDirectory(prefix="langlog-ui-") as folder:
        spec = _Spec(str(project.root), folder, str(bundler), sources, config.shared)
        report = _built([node.executable, str(host_program()), "bundle", msgspec.json.encode(spec).decode()], settings)
        if not report.done:
            raise StartError(f"{project.file}: ui does not build: {' '.join(report.refused.split())}"[:LINE_MAX])
        return _read(project, Path(folder) / "public", sources)


def _built(command: list[str], settings: Settings) -> _Report:
    """Run the bundler and return its report. Raises StartError when it does not end in time."""
    reading, writing = os.pipe()
    try:
        process = spawn(command, writing)
    except OSError as error:
        os.close(reading)
        raise StartError(f"{command[0]} cannot be started: {error.strerror or error}") from None
    finally:
        os.close(writing)
    data = bytearray()
    deadline = monotonic() + settings.worker_start_s
    try:
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([reading], [], [], max(0.0, deadline - monotonic()))
            if not ready:
                raise StartError(
                    f"the components of ui were not bundled within {settings.worker_start_s:g} s: "
                    "if they need longer, set LANGLOG_WORKER_START_SECS"
                )
            piece = os.read(reading, 65_536)
            if not piece or len(data) > REPORT_BYTES_MAX:
                raise StartError("the process that bundles the components of ui ended before it was done")
            data += piece
        return msgspec.json.decode(data, type=_Report)
    finally:
        os.close(reading)
        end_process(process)


def _read(project: Project, folder: Path, names: Mapping[str, str]) -> Bundles:
    bundles: dict[str, dict[str, File]] = {}
    left = BYTES_MAX
    for name in names:
        files = bundles[name] = {}
        for path in sorted((folder / name).iterdir()):
            left -= path.stat().st_size
            if left < 0:
                raise StartError(
                    f"{project.file}: the bundles of ui are larger than {BYTES_MAX >> 20} MB together: "
                    "leave large files out of components, or name packages that the page has in ui_config.shared"
                )
            plain = path.read_bytes()
            files[path.name] = made(path.name, plain, {"gzip": gzip.compress(plain, 6, mtime=0)})
    return bundles
