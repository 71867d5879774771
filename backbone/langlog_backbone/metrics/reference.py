"""The tables of docs/reference/metrics.md, written from the table of metrics: ``python -m langlog_backbone.metrics.reference FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from .table import TABLE, Part

BEGIN, END = "<!-- metrics: begin -->", "<!-- metrics: end -->"
PARTS: dict[Part, str] = {
    "process": "Every process",
    "gateway": "Gateways",
    "decider": "Deciders",
    "worker": "Workers",
    "projector": "Projectors",
    "scheduler": "Schedulers",
    "log": "The log, of every process that uses it",
    "postgres": "Postgres, of every process that uses it",
    "deployment": "The whole deployment",
}


def tables() -> str:
    """Return one table for each part."""
    lines: list[str] = []
    for part, title in PARTS.items():
        lines += [f"\n### {title}\n", "| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
        for metric in TABLE.values():
            if metric.part == part:
                labels = ", ".join(f"`{label}`" for label in metric.labels)
                lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with its current tables."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(page(file.read_text()))
