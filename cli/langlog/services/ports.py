"""Checks that an address can be listened on, before anything expensive starts."""

from __future__ import annotations

import errno
import socket

from langlog_backbone.process.service import StartError


def ensure_free(host: str, port: int) -> None:
    """Raise StartError if the address cannot be listened on now."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartError(
            f"cannot resolve the address {host!r}: {error.strerror} (choose another with --host)"
        ) from None
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise StartError(f"port {port} on {host} is in use (choose another with --port)") from None
                raise StartError(
                    f"cannot bind {host}:{port}: {error.strerror} (choose an address of this machine with --host, a port with --port)"
                ) from None
