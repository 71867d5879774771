"""Kafka with TLS and authentication, like managed brokers."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from langlog_backbone.log import LogFault, LogUnavailable, open_log
from langlog_backbone.log.kafka.security import security_options
from langlog_backbone.process.settings import Settings

from tests.log.conftest import OpenLog, record, take
from tests.stack.fixtures import make_broker

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
LISTENER = "listener.name.plaintext"


def certificates(folder: Path) -> Path:
    """A certificate authority and what it signed for the broker; the file that clients check against."""
    folder.mkdir()
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    key = load_pem_private_key(server.private_key_pem.bytes(), None)
    # Java reads keys in this form alone
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = b"".join(pem.bytes() for pem in server.cert_chain_pems)
    (folder / "server.pem").write_bytes(pkcs8 + chain)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder / "ca.pem"


def broker_settings(folder: Path) -> dict[str, str]:
    """The one listener for clients keeps its name and is TLS with SASL."""
    return {
        "listener.security.protocol.map": "PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        f"{LISTENER}.plain.sasl.jaas.config": f'{PLAIN} required username="broker" password="b" user_broker="b" user_ada="lovelace";',
        f"{LISTENER}.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
    }


@pytest.mark.kafka
async def test_a_log_behind_tls_and_sasl_is_a_log_like_any_other(tmp_path: Path, open_started: OpenLog) -> None:
    authority = certificates(tmp_path / "certificates")
    broker = make_broker(tmp_path / "broker", broker_settings(tmp_path / "certificates"), {"ada": "analytical"})
    await broker.start()
    try:
        scram = Settings(
            log_uri=f"kafka://{broker.bootstrap}",
            topic_prefix=f"t{uuid.uuid4().hex[:12]}.",
            partitions=2,
            group_session_s=2,
            kafka_security="SASL_SSL",
            kafka_ca_file=str(authority),
            kafka_username="ada",
            kafka_password="analytical",
        )
        log = await open_started(scram)
        await log.append([record("a", "by scram")])
        plain = msgspec.structs.replace(scram, kafka_sasl_mechanism="PLAIN", kafka_password="lovelace")
        other = await open_started(plain)
        await other.append([record("a", "by plain")])
        reader = other.reader(["commands"])
        assert [r.value for r in await take(reader, 2)] == [b"by scram", b"by plain"]
        await reader.stop()

        for change in ({"kafka_password": "wrong"}, {"kafka_ca_file": ""}, {"kafka_security": "PLAINTEXT"}):
            stranger = open_log(msgspec.structs.replace(scram, **change))
            with pytest.raises(LogUnavailable) as refused:
                await stranger.start()
            assert "analytical" not in str(refused.value)
    finally:
        await broker.kill()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"kafka_security": "TLS"}, "LANGLOG_KAFKA_SECURITY"),
        ({"kafka_security": "sasl_ssl", "kafka_sasl_mechanism": "GSSAPI"}, "LANGLOG_KAFKA_SASL_MECHANISM"),
        ({"kafka_security": "sasl_plaintext", "kafka_username": "ada"}, "LANGLOG_KAFKA_PASSWORD"),
        ({"kafka_security": "ssl", "kafka_ca_file": "no/such.pem"}, "LANGLOG_KAFKA_CA_FILE"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(LogFault, match=named):
        security_options(Settings(**settings))


def test_nothing_is_asked_of_a_plain_broker() -> None:
    assert security_options(Settings()) == {"security_protocol": "PLAINTEXT"}
