"""The chart's manifests, by the files of values in ``ci``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from tests.chart.programs import helm

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "langlog"
CASES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
RELEASE, NAMESPACE = "agents", "prod"
Manifest = dict[str, Any]


@functools.cache
def rendered(case: str, *options: str) -> tuple[Manifest, ...]:
    """Return the manifests of `helm template` for these values, without a cluster."""
    words = ["template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(CHART / "ci" / f"{case}.yaml")]
    text = helm(*words, *options)
    return tuple(one for one in yaml.safe_load_all(text) if one)


def of_kind(case: str, kind: str) -> dict[str, Manifest]:
    """The case's manifests of a kind, by name."""
    return {one["metadata"]["name"]: one for one in rendered(case) if one["kind"] == kind}


def pods(case: str) -> dict[str, Manifest]:
    """Service -> spec of its pods."""
    deployments = of_kind(case, "Deployment").values()
    return {x["metadata"]["labels"]["app.kubernetes.io/component"]: x["spec"]["template"]["spec"] for x in deployments}


def container(case: str, service: str) -> Manifest:
    (one,) = pods(case)[service]["containers"]
    found: Manifest = one
    return found


def settings(case: str) -> dict[str, str]:
    """Variables of the ConfigMap that all services read."""
    (one,) = of_kind(case, "ConfigMap").values()
    found: dict[str, str] = one["data"]
    return found


def values() -> dict[str, Any]:
    """The chart's defaults."""
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return found
