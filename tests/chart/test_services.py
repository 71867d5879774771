"""The chart's services on real servers, with the variables and arguments of its manifests: probes, metrics, and what KEDA reads."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from langgraph_sdk import get_client
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis

from tests.chart.programs import helm, value_at
from tests.chart.rendering import CHART, ROOT
from tests.stack.server import Process, free_port

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.kafka]

LIMIT_S = 180.0


def get(port: int, path: str, host: str = "") -> tuple[int, bytes]:
    """Status and body of a GET to this machine, under the name by which a cluster would know it."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)) as connection:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read()


async def test_the_charts_services_answer_their_probes_and_scalers(
    tmp_path: Path, kafka: str, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis
) -> None:
    name, port = uuid.uuid4().hex[:8], free_port()
    values = {
        "image": {"repository": "agents", "tag": "1"},
        "project": str(ROOT / "examples" / "chat" / "langgraph.json"),
        "production": False,
        "kafka": {"bootstrapServers": kafka, "topicPrefix": f"{name}-", "partitions": 4, "replicationFactor": 1},
        "postgres": {"existingSecret": "db"},
        "redis": {"existingSecret": "redis", "prefix": f"{name}:"},
        "settings": {"LANGLOG_PROJECTION": f"chart_{name}"},
        "listen": "127.0.0.1",
        "ports": {"http": port},
        "decider": {"enabled": True, "autoscaling": {"by": "keda", "maxReplicas": 4}},
        "executor": {"workers": 1, "autoscaling": {"by": "keda"}},
        "projector": {"autoscaling": {"by": "keda", "maxReplicas": 4, "readModel": f"chart_{name}"}},
        "podMonitor": {"enabled": True},
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    found = [one for one in yaml.safe_load_all(helm("template", "agents", CHART, "--values", file)) if one]
    (settings,) = [one["data"] for one in found if one["kind"] == "ConfigMap"]
    deployments = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]["spec"]["containers"][0]
        for one in found
        if one["kind"] == "Deployment"
    }
    # pods have an address each; here they share one, so that each gets a health port of its own
    health = {service: free_port() for service in deployments}
    secrets = {"DATABASE_URI": postgres.uri, "REDIS_URI": redis_server.uri}
    processes = {
        service: Process(
            service, one["args"], tmp_path, settings | secrets | {"LANGLOG_HEALTH_PORT": str(health[service])}
        )
        for service, one in deployments.items()
    }
    with contextlib.ExitStack() as stack:
        for service in ("projector", "decider", "executor", "scheduler", "gateway"):
            processes[service].start()
            stack.callback(processes[service].kill)
        for service, one in deployments.items():
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                status, body = get(health[service], one[probe]["httpGet"]["path"])
                assert (status, body) == (200, b"ok\n"), f"{service}, {probe}: {body!r}"
        async with get_client(url=f"http://127.0.0.1:{port}") as client:
            say = {"messages": [{"role": "user", "content": "hello"}]}
            await client.runs.wait(None, "chat", input=say)

        triggers = [
            (one["metadata"]["name"], trigger["name"], trigger["metadata"])
            for one in found
            if one["kind"] == "ScaledObject"
            for trigger in one["spec"]["triggers"]
            if trigger["type"] == "metrics-api"
        ]
        assert len(triggers) == 4
        for scaled, trigger, meta in triggers:
            where = urlsplit(meta["url"])
            status, body = get(port, f"{where.path}?{where.query}", where.netloc)
            assert status == 200, f"{meta['url']}: {body!r}"
            kind, text = value_at(meta["valueLocation"], body)
            assert kind == "Number" and float(text) >= 0, f"{scaled}, {trigger}: {kind} {text} in {body!r}"

        (monitor,) = [one for one in found if one["kind"] == "PodMonitor"]
        client_end, health_end = monitor["spec"]["podMetricsEndpoints"]
        assert b"lg_api_workers_max" in get(port, client_end["path"])[1]
        for service in deployments:
            assert get(health[service], health_end["path"])[0] == 200

        (test,) = [one for one in found if one["kind"] == "Pod"]
        words = [x.replace("agents-langlog-gateway", "127.0.0.1") for x in test["spec"]["containers"][0]["args"]]
        asked = subprocess.run(
            [sys.executable, "-m", "langlog", *words], capture_output=True, text=True, timeout=LIMIT_S
        )
        assert asked.returncode == 0, asked.stdout + asked.stderr
        assert [
            processes[service].stop() for service in ("gateway", "scheduler", "executor", "decider", "projector")
        ] == [0] * 5
