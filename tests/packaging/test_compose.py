"""compose.yaml contains only settings of the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from langlog.main import cli
from langlog_backbone.process.ending import stop_limit_s
from langlog_backbone.process.environment import VARIABLES, read_settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("gateway", "executor", "projector", "scheduler")
SETTINGS = {name for names in VARIABLES.values() for name in names}
GRAPHS = {"CHAT_MODEL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"}
"""Variables of the example project."""

IMAGES = {
    # https://kafka.apache.org/documentation/#brokerconfigs, by the image's rule: KAFKA_ + name, dots as underscores
    "kafka": {
        "CLUSTER_ID",
        *(
            "KAFKA_" + name.replace(".", "_").upper()
            for name in (
                "node.id",
                "process.roles",
                "listeners",
                "advertised.listeners",
                "controller.listener.names",
                "listener.security.protocol.map",
                "controller.quorum.voters",
                "log.dirs",
                "auto.create.topics.enable",
                "log.retention.ms",
                "log.retention.bytes",
                "min.insync.replicas",
                "unclean.leader.election.enable",
                "offsets.topic.replication.factor",
                "transaction.state.log.replication.factor",
                "transaction.state.log.min.isr",
                "share.coordinator.state.topic.replication.factor",
                "share.coordinator.state.topic.min.isr",
                "group.initial.rebalance.delay.ms",
            )
        ),
    },
    "postgres": {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"},
    "redis": set(),
}
"""Variables that the images know."""


def check_command(words: list[str]) -> None:
    """Parses the command line with the command's own parser."""
    command = cli.commands[words[0]]
    command.make_context(words[0], list(words[1:]), parent=click.Context(cli))


def test_all_parts_are_there() -> None:
    assert set(SERVICES) == {*OURS, *IMAGES}


@pytest.mark.parametrize("name", OURS)
def test_each_service_runs_its_own_command_with_options_it_knows(name: str) -> None:
    command = SERVICES[name]["command"]
    assert command[0] == name
    check_command(command)


@pytest.mark.parametrize("name", OURS)
def test_each_variable_of_a_service_is_a_setting_that_can_be_read(name: str) -> None:
    env: dict[str, str] = SERVICES[name]["environment"]
    assert set(env) - SETTINGS - GRAPHS == set()
    settings = read_settings(env)
    assert settings.log_uri == "kafka://kafka:9092"
    assert settings.database_uri
    assert settings.redis_uri
    assert settings.health_port


@pytest.mark.parametrize("name", IMAGES)
def test_each_variable_of_an_image_is_one_that_the_image_knows(name: str) -> None:
    assert set(SERVICES[name].get("environment", {})) - IMAGES[name] == set()


def test_addresses_and_names_agree_between_services_and_images() -> None:
    settings = read_settings(SERVICES["gateway"]["environment"])
    postgres, kafka = SERVICES["postgres"]["environment"], SERVICES["kafka"]["environment"]
    user, password, base = (postgres[f"POSTGRES_{x}"] for x in ("USER", "PASSWORD", "DB"))
    assert settings.database_uri == f"postgresql://{user}:{password}@postgres:5432/{base}"
    assert "PLAINTEXT://" + settings.log_uri.removeprefix("kafka://") in kafka["KAFKA_ADVERTISED_LISTENERS"]
    assert settings.redis_uri.startswith("redis://redis:6379")


def test_the_log_never_expires_and_topics_are_not_made_by_accident() -> None:
    kafka = SERVICES["kafka"]["environment"]
    assert kafka["KAFKA_LOG_RETENTION_MS"] == "-1"
    assert kafka["KAFKA_LOG_RETENTION_BYTES"] == "-1"
    assert kafka["KAFKA_MIN_INSYNC_REPLICAS"] == "1"
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


@pytest.mark.parametrize("name", SERVICES)
def test_each_part_has_a_health_check_and_waits_for_the_health_of_what_it_needs(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    for needed in SERVICES[name].get("depends_on", {}).values():
        assert needed["condition"] == "service_healthy"
    if name in OURS:
        assert set(SERVICES[name]["depends_on"]) == set(IMAGES)


@pytest.mark.parametrize("name", OURS)
def test_the_health_check_of_a_service_is_a_command_of_langlog(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGLOG_HEALTH_PORT", SERVICES[name]["environment"]["LANGLOG_HEALTH_PORT"])
    test = SERVICES[name]["healthcheck"]["test"]
    assert test[1] == "langlog"
    check_command(test[2:])


@pytest.mark.parametrize("name", OURS)
def test_each_service_can_be_scaled(name: str) -> None:
    assert "container_name" not in SERVICES[name]
    for port in SERVICES[name].get("ports", []):
        low, _, high = port.split(":")[-2].partition("-")
        assert int(high) > int(low)


def test_ports_are_published_to_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", ["kafka", "postgres"])
def test_what_must_not_be_lost_is_on_a_named_volume(name: str) -> None:
    assert [x.split(":")[0] in COMPOSE["volumes"] for x in SERVICES[name]["volumes"]] == [True]


def test_a_stopping_service_is_given_longer_than_it_takes_at_most() -> None:
    for name in OURS:
        grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace > stop_limit_s(read_settings(SERVICES[name]["environment"]))


def test_the_image_is_the_one_without_embedded_servers() -> None:
    for name in OURS:
        assert SERVICES[name]["build"] == {"context": ".", "target": "services"}
