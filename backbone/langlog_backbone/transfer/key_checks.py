"""The keys that a backup needs: check values that identify a key without revealing it (HKDF, RFC 5869)."""

from __future__ import annotations

from collections import Counter

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..credentials.deployment_secret import derived_key
from ..log.encryption.keys import NONCE_BYTES, master_keys
from ..process.settings import Settings
from .backup_files import MasterKey
from .beside import Credentials, KeyOfThread, Row, Secret

CHECK_BYTES = 8


class Masters:
    """Counts rows of a backup, and the master key of the settings that wraps those that are. Raises LogFault for a master key
    that is malformed."""

    def __init__(self, settings: Settings) -> None:
        self._masters = [(check_of(key), AESGCM(key)) for key in master_keys(settings)]
        self._by: Counter[str] = Counter()
        self.threads = self.unwrapped = self.credentials = 0
        self.secret = False

    @property
    def checks(self) -> list[str]:
        """Return the check values of the keys in the settings."""
        return [check for check, _ in self._masters]

    @property
    def missing(self) -> int:
        """Return the number of keys of threads that no master key of the settings unwraps."""
        return self._by[""]

    def wrapping(self) -> list[MasterKey]:
        """Return the master keys with the number of keys that each wraps; without a check value: none of the settings' keys."""
        return [MasterKey(check, keys) for check, keys in sorted(self._by.items())]

    def count(self, row: Row) -> None:
        match row:
            case Secret():
                self.secret = True
            case Credentials():
                self.credentials += 1
            case KeyOfThread(key=key) if key is not None:
                self.threads += 1
                if row.wrapped:
                    self._by[self._wrapped_by(row.key_id or "", key)] += 1
                else:
                    self.unwrapped += 1
            case KeyOfThread():
                pass  # erased

    def _wrapped_by(self, id: str, key: bytes) -> str:
        for check, cipher in self._masters:
            try:
                cipher.decrypt(key[:NONCE_BYTES], key[NONCE_BYTES:], id.encode())
            except InvalidTag:
                continue
            return check
        return ""


def check_of(key: bytes) -> str:
    """Return the check value of a key: 16 hexadecimal digits."""
    return derived_key(key, "check value")[:CHECK_BYTES].hex()


def secret_check(settings: Settings, made: bytes | None) -> str:
    """Return the check value of the deployment's secret: the first configured one, or the created one; empty without one."""
    given = [part.strip() for part in settings.secret.split(",") if part.strip()]
    if given:
        return check_of(given[0].encode())
    return check_of(made) if made is not None else ""
