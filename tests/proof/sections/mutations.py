"""Fixed bugs put back, one at a time: in how many simulated worlds each is found."""

from __future__ import annotations

from typing import Any

TITLE = "Bugs put back"
FILE = "mutations.json"

TEXT = """\
What would the worlds find? Bugs of kinds that were fixed before are put back into the running process, one at a time, and worlds are lived
through with each (`python -m tests.simulation.mutations`, the same seeds for all). A row of zero is a bug that so many worlds do not find:
either another safety net carries it, or the worlds do not reach it yet."""


def text(rows: list[dict[str, Any]]) -> str:
    tried = f"Tried on commit {rows[0]['commit']}:"
    lines = [TEXT, "", tried, "", "| bug | found in | what was broken first |", "| --- | --- | --- |"]
    for row in sorted(rows, key=lambda row: -row["found"]):
        says = row["says"].partition(" s: ")[2].split("\n")[0].replace("|", "\\|")[:110]
        lines.append(f"| {row['bug']} | {row['found']} of {row['worlds']} | {f'`{says}`' if says else '-'} |")
    return "\n".join(lines)
