"""Servers that are too old are refused at the start, in one line that says which version is needed."""

from __future__ import annotations

import pytest
from langlog_backbone.postgres import database as postgres
from langlog_backbone.process.service import StartError
from langlog_backbone.redis import client as redis


@pytest.mark.parametrize("number", ["140000", "140011", "150004", "180001"])
def test_postgres_14_and_newer_will_do(number: str) -> None:
    postgres.check_version(number)


@pytest.mark.parametrize(("number", "said"), [("130014", "13"), ("120000", "12"), ("90624", "9")])
def test_an_older_postgres_is_refused(number: str, said: str) -> None:
    with pytest.raises(StartError, match=f"^Postgres {said} is too old: 14 or newer is needed$"):
        postgres.check_version(number)


@pytest.mark.parametrize("version", ["6.2.0", "6.2.14", "6.10.0", "7.4.1", "8.0.0-rc1", "255.255.255"])
def test_redis_6_2_and_newer_will_do(version: str) -> None:
    redis.check_version(version)


@pytest.mark.parametrize("version", ["6.0.20", "6.1.9", "5.0.7", "2.8.17"])
def test_an_older_redis_is_refused(version: str) -> None:
    with pytest.raises(StartError, match=rf"^Redis {version} is too old: 6\.2 or newer is needed$"):
        redis.check_version(version)
