"""Real servers, one of each for a whole test session, and settings that share them without meeting. See tests/README.md."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from langlog_backbone.embedded.servers import EmbeddedPostgres, EmbeddedRedis
from langlog_backbone.process.settings import Settings

from tests.stack.kafka_broker import SHARED, KafkaBroker, KafkaCluster, KafkaMissing, Link
from tests.stack.server import PARTITIONS

T = TypeVar("T")
MakeSettings = Callable[..., Settings]


async def discard(server: EmbeddedPostgres) -> None:
    """Stop it without a checkpoint, which would take seconds."""
    if server.child is not None:
        await server.child.kill()
    await server.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """An embedded Postgres; tests keep apart by `Settings.projection`."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server
        runner.run(discard(server))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """An embedded Redis; tests keep apart by `Settings.redis_prefix`."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield server
        runner.run(server.stop())


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a Kafka broker: KAFKA_BOOTSTRAP_SERVERS, or one for all workers, or one of our own."""
    shared = getattr(request.config, "workerinput", {}).get("kafka")
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or shared
    if given:
        yield given
        return
    broker = make_broker(tmp_path_factory.mktemp("kafka"), SHARED)
    # in a thread: a browser's driver may have a loop in this one
    with ThreadPoolExecutor(1) as thread:
        runner = asyncio.Runner()
        thread.submit(runner.run, broker.start()).result()
        yield broker.bootstrap
        thread.submit(runner.run, broker.stop()).result()
        thread.submit(runner.close).result()


@pytest.fixture
async def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A Postgres that a test may break or refuse. Started for it alone."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker that the test may kill; not started."""
    broker = make_broker(tmp_path / "kafka")
    yield broker
    with asyncio.Runner() as runner:
        runner.run(broker.stop())


def make_broker(
    folder: Path,
    settings: dict[str, str] | None = None,
    scram: dict[str, str] | None = None,
    listeners: Mapping[str, int] | None = None,
) -> KafkaBroker:
    """A broker, or the reason why the test is skipped; in CI that is a failure."""
    return _or_skipped(lambda: KafkaBroker(folder, settings, scram, listeners))


def make_kafka_cluster(
    folder: Path,
    listeners: Sequence[Mapping[str, int]] | None = None,
    links: Mapping[tuple[int, int], Link] | None = None,
) -> KafkaCluster:
    """As `make_broker`, three of them."""
    return _or_skipped(lambda: KafkaCluster(folder, listeners, links))


def _or_skipped(make: Callable[[], T]) -> T:
    try:
        return make()
    except KafkaMissing as reason:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(f"no Kafka: {reason}", pytrace=False)
        pytest.skip(f"no Kafka: {reason}")


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_kind(request: pytest.FixtureRequest) -> str:
    """Asking for it (or for `make_settings`) runs the test on both logs."""
    kind: str = request.param
    return kind


@pytest.fixture
def make_log_settings(log_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeSettings]:
    """`Settings` with a log of the test's own and nothing else: each call another log."""
    # asked for here: the broker's own event loop cannot start within a test's
    broker = request.getfixturevalue("kafka") if log_kind == "kafka" else None
    made: list[Settings] = []

    def make(**changes: Any) -> Settings:
        settings = isolated(broker, tmp_path, changes)
        made.append(settings)
        return settings

    yield make
    if log_kind == "kafka":
        for settings in made:
            asyncio.run(_delete_topics(settings))


@pytest.fixture
def make_settings(
    make_log_settings: MakeSettings, postgres: EmbeddedPostgres, redis_server: EmbeddedRedis
) -> MakeSettings:
    """`Settings` of a whole stack: log, read model and Redis keys of the test's own; each call another stack."""

    def make(**changes: Any) -> Settings:
        return make_log_settings(**{"database_uri": postgres.uri, "redis_uri": redis_server.uri, **changes})

    return make


@pytest.fixture(scope="module", params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def make_shared_settings(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: EmbeddedPostgres,
    redis_server: EmbeddedRedis,
) -> Iterator[MakeSettings]:
    """As `make_settings`, for stacks that all tests of a file share."""
    broker = request.getfixturevalue("kafka") if request.param == "kafka" else None
    made: list[Settings] = []

    def make(**changes: Any) -> Settings:
        servers = {"database_uri": postgres.uri, "redis_uri": redis_server.uri}
        made.append(isolated(broker, tmp_path_factory.mktemp("shared"), {**servers, **changes}))
        return made[-1]

    yield make
    if broker is not None:
        for settings in made:
            asyncio.run(_delete_topics(settings))


def isolated(broker: str | None, tmp_path: Path, changes: dict[str, Any]) -> Settings:
    """Yield settings under a unique name, on a broker or with an embedded log."""
    name = f"t{uuid.uuid4().hex[:12]}"
    folder = tmp_path / name
    folder.mkdir()
    log_uri = f"kafka://{broker}" if broker else f"sqlite://{folder / 'log.sqlite'}"
    members: dict[str, Any] = {
        "log_uri": log_uri,
        "data_dir": folder,
        "topic_prefix": f"{name}.",
        "projection": name,
        "redis_prefix": f"{name}:",
        "partitions": PARTITIONS,
    }
    return Settings(**(members | changes))


async def _delete_topics(settings: Settings) -> None:
    """Delete the topics, so that the broker does not grow with every test."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.log_uri.removeprefix("kafka://"))
    await admin.start()
    try:
        topics = [topic for topic in await admin.list_topics() if topic.startswith(settings.topic_prefix)]
        if topics:
            await admin.delete_topics(topics)
    finally:
        await admin.close()
