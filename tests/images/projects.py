"""Projects that images are made of."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser

GRAPH = "def graph(config):\n    return None\n"
PYPROJECT = '[project]\nname = "refunds"\nversion = "1"\ndependencies = ["httpx"]\n'


def project(folder: Path, files: dict[str, str] | None = None, /, **config: Any) -> Path:
    """Writes a project of one graph in the folder ``app``, with these keys. The path of its langgraph.json."""
    root = folder / "app"
    for name, text in {"agent.py": GRAPH, **(files or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    whole = {"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}, **config}
    file = root / "langgraph.json"
    file.write_text(json.dumps({k: v for k, v in whole.items() if v is not ...}))
    return file


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(instruction, value) of each line, by a parser of Dockerfiles; without comments."""
    parser = DockerfileParser(fileobj=io.BytesIO(dockerfile.encode()))
    return [(x["instruction"], x["value"]) for x in parser.structure if x["instruction"] != "COMMENT"]
