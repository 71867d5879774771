"""The four services as compose.yaml starts them, on real servers; only addresses and ports are others."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from langgraph_sdk import get_client
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis

from tests.packaging.test_compose import OURS, ROOT, SERVICES
from tests.stack.server import Process, free_port

LIMIT_S = 180.0


@pytest.mark.kafka
async def test_the_services_of_the_compose_file_serve_the_example_and_are_healthy(
    tmp_path: Path, kafka: str, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis
) -> None:
    name = uuid.uuid4().hex[:8]
    port = free_port()
    processes = {}
    health = {service: free_port() for service in OURS}
    for service in OURS:
        env = {k: v for k, v in SERVICES[service]["environment"].items() if not v.startswith("${")}
        env |= {
            "LOG_URI": f"kafka://{kafka}",
            "DATABASE_URI": postgres.uri,
            "REDIS_URI": redis_server.uri,
            "LANGLOG_HEALTH_PORT": str(health[service]),
            "LANGLOG_PROJECT": str(ROOT / "examples" / "chat" / "langgraph.json"),
            "LANGLOG_TOPIC_PREFIX": f"{name}-",
            "LANGLOG_PROJECTION": f"compose_{name}",
            "REDIS_KEY_PREFIX": f"{name}:",
        }
        words = [x.replace("2024", str(port)) for x in SERVICES[service]["command"]]
        processes[service] = Process(service, words, tmp_path, env)
    with contextlib.ExitStack() as stack:
        # the executor waits for its graphs to reach the read model, so the projector comes first
        for service in ("projector", "executor", "scheduler", "gateway"):
            processes[service].start()
            stack.callback(processes[service].kill)
        for service in OURS:
            words = [sys.executable, "-m", "langlog", "health", "--port", str(health[service])]
            asked = [subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)]
            while asked[-1].stdout != "ok\n" and "no answer" in asked[-1].stderr and len(asked) < 5:
                asked.append(subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S))  # it was too busy
            assert asked[-1].stdout == "ok\n", f"{service}: {asked}"
        async with get_client(url=f"http://127.0.0.1:{port}") as client:
            say = {"messages": [{"role": "user", "content": "hello"}]}
            values = await client.runs.wait(None, "chat", input=say)
        assert values["messages"][-1]["content"].startswith("You said: hello.")  # type: ignore[call-overload]
        assert [processes[service].stop() for service in OURS] == [0, 0, 0, 0]
