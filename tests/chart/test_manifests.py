"""helm accepts the chart and its values; the manifests fit the schemas of the oldest and the newest Kubernetes, KEDA and Prometheus."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tests.chart.programs import CUSTOM, KUBERNETES, custom_schema, helm, kubernetes_schema
from tests.chart.readme import page, rows
from tests.chart.rendering import CASES, CHART, ROOT, rendered, values

pytestmark = pytest.mark.timeout(1_800)  # helm is built once, where the cache has none

COMMON = [
    *("--set", "image.repository=registry.example.com/agents", "--set", "image.tag=v1"),
    *("--set", "kafka.bootstrapServers=kafka:9092", "--set", "postgres.existingSecret=db", "--set", "redis.existingSecret=r"),
]  # fmt: skip


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("case", CASES)
def test_helm_lints_the_chart_with_the_values(case: str, version: str) -> None:
    helm("lint", "--strict", "--kube-version", version, CHART, "--values", CHART / "ci" / f"{case}.yaml")


def test_helm_lints_the_chart_without_values() -> None:
    helm("lint", CHART)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("case", CASES)
def test_every_manifest_fits_the_schema_of_its_kind(case: str, version: str) -> None:
    found = rendered(case, "--kube-version", version)
    assert len(found) > 10
    for one in found:
        key = (one["apiVersion"], one["kind"])
        schema = custom_schema(*key) if key in CUSTOM else kubernetes_schema(version, *key)
        errors = jsonschema.Draft202012Validator(schema).iter_errors(one)
        message = [f"{error.json_path}: {error.message[:300]}" for error in errors]
        assert not message, f"{one['kind']} {one['metadata']['name']}: {message}"
        assert None not in list(leaves(one)), f"{one['kind']} {one['metadata']['name']} has an empty member"


def test_the_example_of_a_scaler_fits_the_schema_of_keda() -> None:
    one = yaml.safe_load((ROOT / "deploy" / "keda" / "executor.yaml").read_text())
    errors = jsonschema.Draft202012Validator(custom_schema(one["apiVersion"], one["kind"])).iter_errors(one)
    assert not [f"{error.json_path}: {error.message[:300]}" for error in errors]


def test_the_schemas_refuse_a_member_that_does_not_exist() -> None:
    for key in (("apps/v1", "Deployment"), ("keda.sh/v1alpha1", "ScaledObject")):
        (one, *_) = [x for x in rendered("divided") if (x["apiVersion"], x["kind"]) == key]
        wrong = one | {"spec": one["spec"] | {"replicaz": 1}}
        schema = custom_schema(*key) if key in CUSTOM else kubernetes_schema(KUBERNETES[-1], *key)
        assert list(jsonschema.Draft202012Validator(schema).iter_errors(wrong))


def leaves(node: Any) -> Iterator[Any]:
    match node:
        case dict():
            for one in node.values():
                yield from leaves(one)
        case list():
            for one in node:
                yield from leaves(one)
        case _:
            yield node


@pytest.mark.parametrize("case", CASES)
def test_no_two_objects_of_a_release_share_a_name(case: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(case)]
    assert len(names) == len(set(names))


def test_every_value_is_described_and_the_readme_is_what_its_script_writes() -> None:
    assert (CHART / "README.md").read_text() == page(), "run python -m tests.chart.readme"
    assert len(rows()) > 150


def test_the_schema_knows_every_value_and_no_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)

    def resolved(one: dict[str, Any]) -> dict[str, Any]:
        return schema["$defs"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one

    def compare(given: dict[str, Any], one: dict[str, Any], path: str) -> None:
        known = resolved(one).get("properties")
        if known is None:
            return  # a map of the user's, or a part of Kubernetes' own schema
        free = {"global"} if not path else set()
        optional = {"initialDelaySeconds", "medium", "claims", *schema["$defs"]["image"]["properties"]}
        assert resolved(one)["additionalProperties"] is False, path
        assert set(given) <= set(known), path
        assert set(known) - set(given) - free <= (optional if path else set()), path
        for name, value in given.items():
            if isinstance(value, dict):
                compare(value, known[name], f"{path}.{name}")

    compare(values(), schema, "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("gatway.replicas=3", "gatway"),
        ("gateway.replicas=many", "/gateway/replicas"),
        ("kafka.bootstrapServers=kafka://kafka:9092", "/kafka/bootstrapServers"),
        ("kafka.security=TLS", "/kafka/security"),
        ("postgres.uri=mysql://db", "/postgres/uri"),
        ("deploymentSecret.value=short", "/deploymentSecret/value"),
        ("executor.autoscaling.by=vpa", "/executor/autoscaling/by"),
        ("settings.langlog_port=1", "langlog_port"),
        ("settings.LANGLOG_PARTITIONS=8", "settings.LANGLOG_PARTITIONS: the chart sets this variable"),
        ("settings.DATABASE_URI=postgresql://db", "secrets do not belong into a ConfigMap"),
        ("kafka.security=SASL_SSL", "kafka.sasl.username is empty"),
        ("image.repository=", "image.repository is empty: name the image of your project"),
        ("image.tag=", "image.tag and image.digest are empty"),
        ("postgres.existingSecret=", "postgres.uri and postgres.existingSecret are empty"),
        ("redis.existingSecret=", "redis.uri and redis.existingSecret are empty"),
        ("ingress.enabled=true", "ingress.hosts is empty"),
        ("ingress.enabled=true,ingress.hosts={http://x}", "/ingress/hosts/0"),
        ("ingress.enabled=true,ingress.hosts={x.example},ingress.path=/x", "set settings.MOUNT_PREFIX to the same"),
        ("settings=null", "settings"),
        ("probes.liveness=null", "liveness"),
        ("image.repository=A B", "/image/repository"),
        ("fullnameOverride=9_A", "/fullnameOverride"),
        ("ports.http=8080", "ports.http and ports.health are both 8080"),
        ("commonLabels.app\\.kubernetes\\.io/name=x", "invalid propertyName 'app.kubernetes.io/name'"),
        ("gateway.podDisruptionBudget.maxUnavailable=0", "/gateway/podDisruptionBudget/maxUnavailable"),
        ("gateway.podDisruptionBudget.minAvailable=2", "no node with one of them could be emptied"),
        ("gateway.autoscaling.by=hpa,gateway.autoscaling.minReplicas=11", "maxReplicas (10) is below minReplicas (11)"),
        ("gateway.autoscaling.by=hpa,gateway.resources.requests.cpu=null", "gateway.resources.requests.cpu is empty"),
        ("gateway.autoscaling.by=keda,gateway.autoscaling.cpu=0", "every figure to go by is 0"),
        ("projector.replicas=33", "more than kafka.partitions (32) have nothing to do"),
    ],
)
def test_helm_refuses_wrong_values_with_what_is_wrong(wrong: str, message: str) -> None:
    assert message in helm("template", "agents", CHART, *COMMON, "--set", wrong, fails=True)


@pytest.mark.parametrize("release", ["123", "1e5", "true", "null", "0x1f", "a.b", "a" * 53])
def test_every_name_that_helm_allows_for_a_release_makes_sound_objects(release: str) -> None:
    """Labels stay texts, and names of Services begin with a letter and hold no dot."""
    text = helm("template", release, CHART, *COMMON, "--set-string", "postgres.existingSecret=123")
    for one in filter(None, yaml.safe_load_all(text)):
        schema = kubernetes_schema(KUBERNETES[-1], one["apiVersion"], one["kind"])
        assert not list(jsonschema.Draft202012Validator(schema).iter_errors(one)), one["metadata"]["name"]
        assert None not in list(leaves(one))
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == release
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", one["metadata"]["name"])


def test_releases_with_long_names_share_no_object() -> None:
    def names(release: str) -> set[str]:
        objects = yaml.safe_load_all(helm("template", release, CHART, *COMMON))
        return {one["metadata"]["name"] for one in objects if one}

    assert not names("agents-of-the-customers-in-production-eu-1") & names("agents-of-the-customers-in-production-eu-2")
    assert not names("agents.one") & names("agents-one")


def test_defaults_that_a_platform_sets_itself_can_be_removed() -> None:
    """OpenShift assigns each namespace its own users."""
    gone = "podSecurityContext=null,securityContext=null,tmp=null,gateway.resources=null"
    for one in filter(None, yaml.safe_load_all(helm("template", "a", CHART, *COMMON, "--set", gone))):
        assert None not in list(leaves(one))
        assert "securityContext" not in str(one)


def test_more_projectors_than_partitions_are_refused() -> None:
    more = ("--set", "projector.autoscaling.by=keda,projector.autoscaling.maxReplicas=33")
    assert "more than kafka.partitions (32) have nothing to do" in helm(
        "template", "a", CHART, *COMMON, *more, fails=True
    )


def test_the_chart_has_the_version_of_langlog() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["appVersion"] == version
