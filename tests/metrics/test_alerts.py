"""Board, alerts and scaler name metrics that are exported, and link to pages that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from langlog_backbone.metrics.table import TABLE
from langlog_scheduler.webhooks import OUTCOMES

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "langlog-rules.yaml"
RULE_TESTS = RULES.with_name("langlog-rules.test.yaml")
BOARD = ROOT / "deploy" / "grafana" / "langlog.json"
SCALER = ROOT / "deploy" / "keda" / "executor.yaml"
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that a scrape adds, and that of a histogram's buckets."""
SERIES = {name: metric for metric in TABLE.values() for name in metric.series}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression, without Grafana's variables, after the name of its place."""
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]
    board = json.loads(BOARD.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "5m")
    for variable in board["templating"]["list"]:
        if (of := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", ""))) is not None:
            yield f"variable {variable['name']}", f"sum by ({of[2]}) ({of[1]})"
    for trigger in yaml.safe_load(SCALER.read_text())["spec"]["triggers"]:
        yield f"trigger {trigger['name']}", trigger["metadata"]["query"]


ALL = list(expressions())


def selectors(node: Any) -> Iterator[promql.VectorSelector]:
    """Yield every selector of series in an expression."""
    match node:
        case promql.VectorSelector():
            yield node
        case promql.MatrixSelector():
            yield node.vector_selector
        case promql.BinaryExpr():
            yield from selectors(node.lhs)
            yield from selectors(node.rhs)
        case promql.Call():
            for argument in node.args:
                yield from selectors(argument)
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from selectors(node.expr)


def grouped(node: Any) -> Iterator[tuple[set[str], Any]]:
    """Yield the labels of each aggregation and its operand."""
    match node:
        case promql.AggregateExpr():
            if node.modifier is not None:
                yield set(node.modifier.labels), node.expr
            yield from grouped(node.expr)
        case promql.BinaryExpr():
            yield from grouped(node.lhs)
            yield from grouped(node.rhs)
        case promql.Call():
            for argument in node.args:
                yield from grouped(argument)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from grouped(node.expr)


@pytest.mark.parametrize(("where", "expression"), ALL, ids=[where for where, _ in ALL])
def test_an_expression_names_exported_metrics_and_labels_alone(where: str, expression: str) -> None:
    parsed = promql.parse(expression)
    chosen = list(selectors(parsed))
    assert chosen, expression
    for selector in chosen:
        assert selector.name in SERIES, f"{where}: no metric {selector.name}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in {*SERIES[selector.name].labels, *OF_PROMETHEUS}, f"{where}: no label {matcher.name}"
    for labels, of in grouped(parsed):
        known = set.intersection(*(set(SERIES[s.name or ""].labels) for s in selectors(of))) | OF_PROMETHEUS
        assert labels <= known, f"{where}: {labels - known}"


def test_values_of_labels_are_those_that_are_exported() -> None:
    """Of labels with few values: a misspelt one would never match."""
    known = {
        "service": {"gateway", "decider", "projector", "scheduler", "workers"},
        "state": {"alive", "waiting"},
        "outcome": {"error", "timeout", *OUTCOMES},
        "reason": {"lease_lost", "queue_lost", "ready", "due"},
        "cause": {"WorkerLost"},
    }
    for where, expression in ALL:
        for selector in selectors(promql.parse(expression)):
            for matcher in selector.matchers.matchers:
                if matcher.name in known:
                    assert set(matcher.value.split("|")) <= known[matcher.name], f"{where}: {matcher}"


def test_the_board_shows_most_of_the_metrics() -> None:
    shown = {
        SERIES[s.name or ""].name for where, e in ALL if where.startswith("panel") for s in selectors(promql.parse(e))
    }
    assert len(shown) > 0.6 * len(TABLE)


def test_panels_have_places_and_ids_of_their_own() -> None:
    panels = json.loads(BOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_every_alert_leads_to_a_section_of_the_runbooks() -> None:
    named = []
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor == rule["alert"].lower() and rule["alert"] in headings, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        named.append(rule["alert"])
    assert headings == sorted(headings, key=named.index), (
        "the page has the order of the rules, and no section without one"
    )


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    fired = {
        case["alertname"]
        for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in rules()}


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        assert not os.environ.get("CI"), "promtool is missing: Debian's package prometheus has it"
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", str(RULE_TESTS))
