"""A client without an address where every service is a process of its own: the secret is shared, and any gateway knows the proof."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from langlog_backbone.credentials.loopback_proof import PROOF_HEADER

from tests.loss.cluster import Cluster, running_cluster
from tests.stack.server import kafka_env

OWN_CLIENT = Path(__file__).parent / "own_client" / "langgraph.json"
LIMIT_S = 180.0
BOB = {"authorization": "bob"}


@pytest.mark.kafka
async def test_the_projects_code_calls_any_gateway_without_credentials(kafka: str, tmp_path: Path) -> None:
    """Nodes in a worker call the second gateway; routes and handlers in each gateway call the first."""
    urls: list[str] = []

    def arrange(cluster: Cluster) -> None:
        _, second = cluster.second_gateway()
        urls.extend((cluster.url, second))
        for name, process in cluster.processes.items():
            process.env["LANGLOG_BASE_URL"] = second if name == "worker" else cluster.url

    env = {**kafka_env(kafka), "LANGLOG_PROJECT": str(OWN_CLIENT)}
    async with (
        running_cluster(tmp_path, env, arrange) as cluster,
        aiohttp.ClientSession(headers=BOB, timeout=aiohttp.ClientTimeout(total=LIMIT_S)) as http,
    ):
        for url in urls:
            async with http.post(f"{url}/runs/wait", json={"assistant_id": "asker", "input": {}}) as answer:
                assert answer.status == 200, await answer.text()
                report = (await answer.json())["report"]
            assert report["leaf"] == {"headers": [], "user": None}
            assert report["owners"] >= 1
            assert report["instrumented"] >= 1, "headers of tracing are no credentials"
            assert report["alice"] == "NotFoundError", "credentials are authenticated, and filters apply"
            async with http.get(f"{url}/threads/{report['thread']}/runs") as answer:
                assert len(await answer.json()) == 2
            async with http.get(f"{url}/ask") as answer:
                assert answer.status == 200, await answer.text()
                asked = await answer.json()
            assert asked["bob"] >= 2
            assert asked["alice"] == 0
            assert PROOF_HEADER not in asked["seen"]["headers"]
            async with http.post(f"{url}/threads/count", json={}, headers={"authorization": ""}) as answer:
                assert answer.status == 401, "a caller outside the project is authenticated"
        for process in cluster.processes.values():
            assert PROOF_HEADER not in process.output.read_text(), "no log has the header"
