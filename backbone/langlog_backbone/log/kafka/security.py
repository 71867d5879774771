"""Authentication between langlog and Kafka's brokers: TLS and SASL, from the settings.

Pure but for reading the certificate files, once per client. Secrets never appear in a log line or an error message.
"""

from __future__ import annotations

import ssl
from typing import Any

from aiokafka.helpers import create_ssl_context

from ...process.settings import Settings
from ..port import LogFault

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def security_options(settings: Settings) -> dict[str, Any]:
    """Return the options of every aiokafka client. Raises LogFault for invalid settings.

    KIP-12 (TLS and SASL), KIP-84 (SCRAM).
    """
    protocol = settings.kafka_security.upper()
    if protocol not in PROTOCOLS:
        raise LogFault(f"LANGLOG_KAFKA_SECURITY must be one of {', '.join(PROTOCOLS)}, not {settings.kafka_security!r}")
    options: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if protocol.startswith("SASL"):
        options |= _sasl(settings)
    return options


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=settings.kafka_ca_file or None,
            certfile=settings.kafka_cert_file or None,
            keyfile=settings.kafka_key_file or None,
        )
    except (OSError, ValueError) as error:
        raise LogFault(
            f"LANGLOG_KAFKA_CA_FILE, LANGLOG_KAFKA_CERT_FILE, LANGLOG_KAFKA_KEY_FILE: {error or type(error).__name__}"
        ) from None
    return context


def _sasl(settings: Settings) -> dict[str, str]:
    mechanism = settings.kafka_sasl_mechanism.upper()
    if mechanism not in MECHANISMS:
        raise LogFault(
            f"LANGLOG_KAFKA_SASL_MECHANISM must be one of {', '.join(MECHANISMS)}, not {settings.kafka_sasl_mechanism!r}"
        )
    if not settings.kafka_username or not settings.kafka_password:
        raise LogFault("LANGLOG_KAFKA_SECURITY with SASL needs LANGLOG_KAFKA_USERNAME and LANGLOG_KAFKA_PASSWORD")
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": settings.kafka_password,
    }
