"""The manifests promise only what the services keep: variables, commands, ports, the time to stop, metrics, connections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from langlog.services.variables import unknown_variables
from langlog_backbone.log.port import DECIDERS
from langlog_backbone.process.ending import stop_limit_s
from langlog_backbone.process.environment import FILES, SECRETS, VARIABLES, read_settings
from langlog_backbone.process.settings import Settings
from langlog_schemas import commands, events

from tests.chart.rendering import (
    CASES,
    CHART,
    NAMESPACE,
    ROOT,
    Manifest,
    container,
    of_kind,
    pods,
    rendered,
    settings,
    values,
)
from tests.packaging.test_compose import check_command

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.parametrize("case", CASES)]

KNOWN = {name: field for field, names in VARIABLES.items() for name in names}
MARGIN_S = 5


def read(case: str) -> Settings:
    """The settings that a service of this case has."""
    files = {name for field in FILES for name in VARIABLES[field]}
    return read_settings({name: value for name, value in settings(case).items() if name not in files})


def test_every_variable_is_a_setting(case: str) -> None:
    assert set(settings(case)) <= set(KNOWN)
    assert read(case).log_uri.startswith("kafka://")
    secrets = {KNOWN[name] for name in settings(case)} & SECRETS
    assert not secrets, "a secret stands in the ConfigMap"
    own = {entry["name"] for name in pods(case) for entry in container(case, name)["env"]}
    assert {"DATABASE_URI", "REDIS_URI"} <= own
    assert {KNOWN[name] for name in own if name in KNOWN} <= SECRETS


def test_every_key_of_a_secret_is_there_where_the_chart_makes_it(case: str) -> None:
    made = {name: set(one["stringData"]) for name, one in of_kind(case, "Secret").items()}
    for service in pods(case):
        for entry in container(case, service)["env"]:
            ref = entry.get("valueFrom", {}).get("secretKeyRef")
            if ref and ref["name"] in made:
                assert ref["key"] in made[ref["name"]]


def test_each_service_runs_a_command_that_langlog_has(case: str) -> None:
    for service in pods(case):
        check_command(container(case, service)["args"])
    for pod in of_kind(case, "Pod").values():
        check_command(pod["spec"]["containers"][0]["args"])


def test_somebody_decides_and_somebody_runs(case: str) -> None:
    roles = [words[2] for name in pods(case) if (words := container(case, name)["args"])[0] == "executor"]
    assert sorted(roles) in (["both"], ["decider", "worker"])


def test_probes_ask_the_health_port_for_what_they_mean(case: str) -> None:
    for service in pods(case):
        one = container(case, service)
        ports = {port["name"]: port["containerPort"] for port in one["ports"]}
        assert ports["health"] == read(case).health_port
        assert ports.get("http", read(case).port) == read(case).port
        asked = {name: one[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in asked.values()} == {"health"}
        assert [asked[name]["path"] for name in asked] == ["/live", "/live", "/ok"]
        startup = one["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] > read(case).worker_start_s


def test_a_pod_is_given_longer_than_its_process_takes_to_stop(case: str) -> None:
    found = read(case)
    assert stop_limit_s(found) >= 2 * found.drain_s
    assert found.stop_s == stop_limit_s(Settings(drain_s=found.drain_s)), (
        "LANGLOG_STOP_SECS is not what its default would be"
    )
    for service, pod in pods(case).items():
        pause = (
            container(case, service)
            .get("lifecycle", {})
            .get("preStop", {})
            .get("exec", {})
            .get("command", ["", "0"])[1]
        )
        assert pod["terminationGracePeriodSeconds"] >= stop_limit_s(found) + int(pause) + MARGIN_S
        if service != "gateway":
            assert pause == "0", "nobody is sent to it by a Service"


def test_pods_run_as_the_images_user_without_privileges(case: str) -> None:
    user = re.search(r"useradd.*--uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert user
    specs = [*pods(case).values(), *(pod["spec"] for pod in of_kind(case, "Pod").values())]
    for pod in specs:
        (one,) = pod["containers"]
        assert pod["securityContext"]["runAsUser"] == int(user[1])
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert one["resources"]["requests"] and "memory" in one["resources"]["limits"]
    for pod in pods(case).values():
        assert {"name": "tmp", "mountPath": "/tmp"} in pod["containers"][0]["volumeMounts"]


def test_the_variables_that_kubernetes_makes_of_services_stay_out(case: str) -> None:
    assert list(unknown_variables({"LANGLOG_PORT": "tcp://10.0.0.1:2024"})), "then nothing has to be kept out"
    assert all(pod["enableServiceLinks"] is False for pod in pods(case).values())


def test_each_object_selects_the_pods_of_one_service(case: str) -> None:
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in of_kind(case, "Deployment").values()
    }

    def selected(selector: dict[str, str]) -> list[str]:
        return [name for name, own in labels.items() if selector.items() <= own.items()]

    for name, one in of_kind(case, "Deployment").items():
        assert selected(one["spec"]["selector"]["matchLabels"]) == [name]
        for spread in one["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert selected(spread["labelSelector"]["matchLabels"]) == [name]
    for name, one in of_kind(case, "PodDisruptionBudget").items():
        assert selected(one["spec"]["selector"]["matchLabels"]) == [name]
        assert one["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    for one in of_kind(case, "Service").values():
        assert [x.rpartition("-")[2] for x in selected(one["spec"]["selector"])] == ["gateway"]
    for one in of_kind(case, "PodMonitor").values():
        assert len(selected(one["spec"]["selector"]["matchLabels"])) == len(labels)
    scaled = [
        one["spec"]["scaleTargetRef"]["name"]
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for one in of_kind(case, kind).values()
    ]
    assert len(scaled) == len(set(scaled))
    for name, one in of_kind(case, "Deployment").items():
        assert ("replicas" in one["spec"]) == (name not in scaled), "an upgrade would undo what was scaled"
    accounts = set(of_kind(case, "ServiceAccount")) | {"default"}
    assert {pod["serviceAccountName"] for pod in pods(case).values()} <= accounts


def test_scaling_goes_by_figures_that_are_documented(case: str) -> None:
    metrics = (ROOT / "docs/reference/metrics.md").read_text()
    health = (ROOT / "backbone/langlog_backbone/operation/health.py").read_text()
    for name, one in of_kind(case, "ScaledObject").items():
        for trigger in one["spec"]["triggers"]:
            if trigger["type"] == "cpu":
                service = name.rpartition("-")[2]
                assert "cpu" in container(case, service)["resources"]["requests"]
                continue
            meta = trigger["metadata"]
            host = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", meta["url"])
            assert host and host[1] in read(case).allowed_hosts.split(",") and int(host[2]) == read(case).port
            if host[3] == "/metrics?format=json":
                (path,) = re.findall(r"(?:queue|workers)\.\w+", meta["valueLocation"])
                assert f"`{path}`" in metrics
            else:
                assert host[3] == "/operator/health"
                group, topic, member = re.findall(
                    r'group=="([^"]+)"\)#\|#\(topic=="([^"]+)"\)\.(\w+)', meta["valueLocation"]
                )[0]
                assert (group, topic) in (
                    (DECIDERS, commands.TOPIC),
                    (f"projection {Settings().projection}", events.RUN_EVENTS),
                )
                assert f"    {member}: int" in health
    for one in of_kind(case, "PodMonitor").values():
        assert {end["path"] for end in one["spec"]["podMetricsEndpoints"]} == {"/metrics"}


def allowed(rules: list[dict[str, Any]], port: int | str, labels: dict[str, str] | None) -> bool:
    """May a pod with these labels in the namespace, or (None) a client outside, reach this port?"""
    for rule in rules:
        ports = [one["port"] for one in rule.get("ports", [])]
        if ports and port not in ports:
            continue
        peers = rule.get("to", rule.get("from"))
        if not peers:
            return True
        for peer in peers:
            if labels is None and "podSelector" not in peer:
                return True
            if (
                labels is not None
                and peer.get("podSelector", {}).get("matchLabels", {"": ""}).items() <= labels.items()
            ):
                return True
    return False


def test_policies_let_through_every_connection_that_langlog_needs(case: str) -> None:
    policies = of_kind(case, "NetworkPolicy")
    if not policies:
        assert case in ("least", "by-cpu")
        return
    labels = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]["metadata"]["labels"]
        for one in of_kind(case, "Deployment").values()
    }

    def policy(service: str) -> Manifest:
        found = [
            one["spec"]
            for one in policies.values()
            if one["spec"]["podSelector"]["matchLabels"].items() <= labels[service].items()
        ]
        (spec,) = found
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        return dict(spec)

    found = read(case)
    dependencies = {int(broker.rpartition(":")[2]) for broker in found.log_uri.removeprefix("kafka://").split(",")}
    dependencies |= {5432, {"divided": 6380}.get(case, 6379), 53}
    for service in labels:
        for port in dependencies:
            assert allowed(policy(service)["egress"], port, None), f"{service} does not reach port {port}"
        assert not allowed(policy(service)["egress"], 22, None)
    entry = policy("gateway")["ingress"]
    for service in ("gateway", "executor", "scheduler"):
        assert allowed(policy(service)["egress"], found.port, labels["gateway"]), f"{service} does not reach gateways"
        assert allowed(entry, "http", labels[service]), f"gateways do not let {service} in"
        assert allowed(policy(service)["egress"], 443, None), f"{service} does not reach the project's servers"
    assert allowed(entry, "http", None), "gateways let no client in"
    assert not allowed(policy("projector")["egress"], found.port, labels["gateway"])
    test = [pod["metadata"]["labels"] for pod in of_kind(case, "Pod").values()]
    assert all(allowed(entry, "http", own) for own in test)


def test_an_ingress_neither_buffers_nor_cuts_streams(case: str) -> None:
    for one in of_kind(case, "Ingress").values():
        notes = {name.rpartition("/")[2]: text for name, text in one["metadata"]["annotations"].items()}
        assert notes["proxy-buffering"] == "off"
        assert int(notes["proxy-read-timeout"]) >= 3_600
        assert int(notes["proxy-body-size"].removesuffix("m")) * 1_048_576 >= Settings().max_body_bytes
        hosts = [rule["host"] for rule in one["spec"]["rules"]]
        assert set(hosts) <= set(read(case).allowed_hosts.split(","))
        paths = {path["path"] for rule in one["spec"]["rules"] for path in rule["http"]["paths"]}
        assert paths == {read(case).mount_prefix or "/"}


def test_the_defaults_are_langlogs(case: str) -> None:
    given = values()
    assert given["projector"]["autoscaling"]["readModel"] == Settings().projection
    assert given["executor"]["autoscaling"]["activeRuns"] < given["executor"]["workers"] * Settings().jobs_per_worker
    assert given["kafka"]["partitions"] == Settings().partitions
    assert f"-gateway.{NAMESPACE}.svc" in read(case).base_url
    assert read(case).base_url.endswith(read(case).mount_prefix)


def test_a_service_may_have_an_image_of_its_own(case: str) -> None:
    images = {service: container(case, service)["image"] for service in pods(case)}
    if case == "divided":
        assert images.pop("executor") == "registry.example.com/agents:1"
        assert set(images.values()) == {"registry.example.com/agents:2"}
    assert len(set(images.values())) == 1


def test_all_files_of_values_are_rendered(case: str) -> None:
    assert Path(CHART / "ci" / f"{case}.yaml").is_file()
    assert rendered(case)
