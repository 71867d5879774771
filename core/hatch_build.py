"""Builds the wheel of langlog's core from the distribution beside it: its metadata and packages, less what is embedded."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

EMBEDDED = tuple(Path(__file__).with_name("embedded.txt").read_text().split())
"""Distributions that bring servers."""
TAKEN = ("description", "license", "requires-python", "keywords", "classifiers", "scripts")
LABEL = "+core"


def whole(root: str) -> dict[str, Any]:
    """The pyproject.toml of the whole distribution."""
    return tomllib.loads((Path(root).parent / "pyproject.toml").read_text())


class CoreMetadata(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        project = whole(self.root)["project"]
        metadata.update({name: project[name] for name in TAKEN})
        metadata["version"] = project["version"] + LABEL
        metadata["dependencies"] = [
            line for line in project["dependencies"] if re.split(r"[^\w.-]", line)[0] not in EMBEDDED
        ]
        metadata["optional-dependencies"] = {
            name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"
        }


class CorePackages(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install is refused: install the whole distribution so."""
        if version == "editable":
            raise RuntimeError("core cannot be installed editable: use `pip install -e .` in the folder above")
        self._build_node_files()
        for package in whole(self.root)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
            source = Path(self.root).parent / package
            build_data["force_include"][str(source)] = source.name

    def _build_node_files(self) -> None:
        """As ../hatch_build.py does, where the sources are: an image gets the files built."""
        file = Path(self.root).parent / "node_build.py"
        spec = importlib.util.spec_from_file_location("langlog_node_build", file) if file.is_file() else None
        if spec is None or spec.loader is None:
            return
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for warning in module.build_all():
            self.app.display_warning(warning)
