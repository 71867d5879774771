"""The endpoints that the console calls, found in its sources, so that a page which calls another one is tried as well."""

from __future__ import annotations

import re
from typing import Any

from tests.console.browser import ROOT

SOURCES = ROOT / "console" / "src"
METHODS = ("get", "post", "put", "patch", "delete")


def named() -> set[str]:
    """Paths in the sources, with ``{}`` for what they fill in. Some are no paths of the API."""
    found = set()
    for file in SOURCES.rglob("*.ts*"):
        if ".test." in file.name:
            continue
        text = file.read_text()
        paths = re.findall(r"""[`"](/[a-z][\w/${}.()-]*)[`"]""", text)
        for begun in re.findall(r"const path = at`([^`]+)`", text):
            paths += [begun + rest for rest in re.findall(r"`\$\{path\}(/[^`]*)`", text)]
        found |= {re.sub(r"\$?\{[^}]*\}", "{}", path) for path in paths}
    return found


def operations(document: dict[str, Any], prefix: str = "") -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path (without the mount prefix) and operation of each endpoint of the OpenAPI document that the console's sources name.

    A path counts with all its methods, and one that ends in something filled in with each name that may be there."""
    names = named()
    found = []
    for full, methods in sorted(document["paths"].items()):
        path = full.removeprefix(prefix)
        plain = re.sub(r"\{[^}]+\}", "{}", path)
        if plain in names or re.sub("[^/]+$", "{}", plain) in names:
            found += [(method.upper(), path, methods[method]) for method in METHODS if method in methods]
    return found
