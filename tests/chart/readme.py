"""Writes the chart's README from the comments in values.yaml: ``python -m tests.chart.readme``.

A comment that begins with ``# --`` stands before the value that it describes; a map with such a comment is one row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from tests.chart.rendering import CHART

HEAD = """\
# The chart langlog

Runs langlog's four services on Kubernetes 1.27 or newer. [On Kubernetes](../../../docs/how-to/kubernetes.md) is the page for it: what must be there
before, how to install, to scale and to upgrade.

This table is made from `values.yaml` by `python -m tests.chart.readme`; `values.schema.json` says what each value may be, and helm refuses others.

| value | default | meaning |
| --- | --- | --- |
"""


def described(node: yaml.Node, lines: list[str], path: str = "") -> Iterator[tuple[str, object, str]]:
    """(path, default, comment) of each value with a comment. Raises ValueError at a value that has none, on itself or around it."""
    assert isinstance(node, yaml.MappingNode)
    for key, value in node.value:
        name = f"{path}{key.value}"
        before = lines[key.start_mark.line - 1].strip()
        if before.startswith("# -- "):
            loader = yaml.SafeLoader("")
            yield name, loader.construct_object(value, deep=True), before.removeprefix("# -- ")
        elif isinstance(value, yaml.MappingNode):
            yield from described(value, lines, f"{name}.")
        else:
            raise ValueError(f"values.yaml: {name} has no comment that begins with '# --'")


def rows() -> list[tuple[str, object, str]]:
    text = (CHART / "values.yaml").read_text()
    node = yaml.compose(text, yaml.SafeLoader)
    assert node is not None
    return list(described(node, text.splitlines()))


def page() -> str:
    """The README's text."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|")

    return HEAD + "".join(
        f"| `{path}` | `{cell(json.dumps(default))}` | {cell(comment)} |\n" for path, default, comment in rows()
    )


if __name__ == "__main__":
    (CHART / "README.md").write_text(page())
