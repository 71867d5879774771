"""Report of an import: counts by kind, and objects that could not be imported, with the reason. Pure except `print_report`."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import click
import msgspec
from langlog_backbone.process.activity import shown_in_line

Kind = Literal["assistants", "threads", "checkpoints", "items", "crons"]
KINDS: tuple[Kind, ...] = ("assistants", "threads", "checkpoints", "items", "crons")
Outcome = Literal["imported", "unchanged", "refused"]
ISSUES_MAX = 10_000
"""Maximum number of listed problems; the others are counted."""
ISSUES_SHOWN = 20
ID_CHARACTERS_MAX, REASON_CHARACTERS_MAX = 200, 2_000


class Issue(msgspec.Struct):
    """A problem. ``lost``: the object was not imported; otherwise a part of it was not."""

    kind: Kind
    id: str
    reason: str
    lost: bool


class Report:
    """``dry``: nothing is written, ``imported`` counts objects that would be."""

    def __init__(self, source: str, *, dry: bool) -> None:
        self.source, self.dry = source, dry
        self.counts: dict[Kind, Counter[Outcome]] = {kind: Counter() for kind in KINDS}
        self.issues: list[Issue] = []
        self.more_issues = 0
        self.stopped: str | None = None
        """Reason why the import did not complete, or None."""
        self.remarks: list[str] = []
        """Advice on the next steps."""

    def count(self, kind: Kind, outcome: Outcome, number: int = 1) -> None:
        self.counts[kind][outcome] += number

    def lost(self, kind: Kind, id: str, reason: str) -> None:
        self.count(kind, "refused")
        self._add(Issue(kind, id, reason, lost=True))

    def partly(self, kind: Kind, id: str, reason: str) -> None:
        self._add(Issue(kind, id, reason, lost=False))

    def _add(self, issue: Issue) -> None:
        if len(self.issues) < ISSUES_MAX:
            self.issues.append(issue)
        else:
            self.more_issues += 1

    @property
    def failed(self) -> bool:
        """Whether an object, or a part of one, was not imported."""
        return self.stopped is not None or any(counts["refused"] for counts in self.counts.values())

    def as_json(self) -> bytes:
        return msgspec.json.encode(
            {
                "source": self.source,
                "dry_run": self.dry,
                "complete": self.stopped is None,
                "stopped": self.stopped,
                "counts": {
                    kind: {"imported": c["imported"], "unchanged": c["unchanged"], "refused": c["refused"]}
                    for kind, c in self.counts.items()
                },
                "issues": self.issues,
                "issues_left_out": self.more_issues,
                "remarks": self.remarks,
            }
        )


def print_report(report: Report, *, as_json: bool) -> None:
    """Print the report to stdout: a table and the problems, or one JSON object."""
    if as_json:
        click.echo(report.as_json())
        return
    imported = "WOULD IMPORT" if report.dry else "IMPORTED"
    click.echo(f"{'':12}{imported:>14}{'UNCHANGED':>12}{'REFUSED':>10}")
    for kind in KINDS:
        counts = report.counts[kind]
        if kind == "checkpoints" and not counts:
            continue
        click.echo(f"{kind:12}{counts['imported']:>14,}{counts['unchanged']:>12,}{counts['refused']:>10,}")
    by_reason: dict[tuple[bool, str, str], list[str]] = {}
    for issue in report.issues:
        by_reason.setdefault((not issue.lost, issue.kind, issue.reason), []).append(issue.id)
    for (partly, name, reason), ids in sorted(by_reason.items())[:ISSUES_SHOWN]:
        more = f" and {len(ids) - 1:,} more" if len(ids) > 1 else ""
        # ids and reasons are the source's words: none of them may write to a terminal what it obeys
        problem = (
            f"{name} {shown_in_line(ids[0], ID_CHARACTERS_MAX)}{more}: {shown_in_line(reason, REASON_CHARACTERS_MAX)}"
        )
        click.echo(f"{'in part' if partly else 'not carried over'}: {problem}")
    left = len(by_reason) - ISSUES_SHOWN
    if left > 0 or report.more_issues:
        click.echo(f"{max(left, 0) + report.more_issues:,} more reasons: see --json")
    for remark in report.remarks:
        click.echo(remark)
    if report.stopped is not None:
        click.echo(f"stopped: {shown_in_line(report.stopped, REASON_CHARACTERS_MAX)}")
