"""The proof that a request comes from the project's own code: a header of the client without an address (`project.loopback`).

Its value is derived from the deployment's secret, so services that share the secret have the same one. A caller that sends it is the
deployment itself to the gateways: it is sent to the deployment's own address alone, and gateways remove it before anything reads a
request's headers.
"""

from __future__ import annotations

from collections.abc import Sequence

from .deployment_secret import derived_key

PROOF_HEADER = "x-langlog-loopback"


def loopback_proofs(secrets: Sequence[bytes]) -> list[str]:
    """Return the header's value for each of the secrets: the current one's, which is sent, comes first; all are accepted."""
    return [derived_key(secret, "loopback").hex() for secret in secrets]
