"""Encryption of checkpoints before they leave the worker, so that they are encrypted in the log, in Postgres and in every copy of these.

`AesCipher` uses ``LANGGRAPH_AES_KEY``; `HandlerCipher` calls the blob handlers of ``encryption.path``, which get the
encryption context of the request of the run or update, and get it again when the bytes are read. `CheckpointCiphers`
seals with one of them (handlers take precedence) and opens bytes that either has sealed, and unsealed ones: encryption may
be turned on later.

Concurrency: any thread that packs or unpacks state. Handlers are coroutines; they run on one event loop in a thread of their own, and
the caller's thread waits for them, as for a node that blocks. Death: as the process.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from langlog_backbone.process.service import StartError
from langlog_backbone.process.settings import Settings
from langlog_backbone.project.config import Project
from langlog_backbone.project.imports import load_object
from langlog_backbone.project.json_handlers import HandlerFault, JsonHandlers, has_json_handlers
from langlog_backbone.time.sources import random_bytes

from ..values.json_cipher import HandlerLoop, JsonCipher, current_context

if TYPE_CHECKING:
    from langgraph_sdk import Encryption

NONCE_BYTES = 12


class CheckpointUnreadable(Exception):
    """A checkpoint is encrypted with a key or handler that this process does not have. The message names it."""

    for_clients = True


class Cipher(Protocol):
    mark: str
    """Suffix of the type of sealed bytes."""

    def seal(self, data: bytes) -> bytes: ...

    def open(self, data: bytes) -> bytes: ...


class AesCipher:
    mark = "+aes"

    def __init__(self, key: str) -> None:
        """``key``: 16, 24 or 32 bytes as UTF-8, in the form of ``LANGGRAPH_AES_KEY``."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(hmac.digest(key.encode(), b"langlog checkpoints", hashlib.sha256))

    def seal(self, data: bytes) -> bytes:
        nonce = random_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, None)

    def open(self, data: bytes) -> bytes:
        """Decrypt bytes. Raises CheckpointUnreadable for bytes of another key."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
        except InvalidTag:
            raise CheckpointUnreadable(
                "a checkpoint is encrypted by another LANGGRAPH_AES_KEY than the present one"
            ) from None


class HandlerCipher:
    mark = "+handlers"

    def __init__(self, encryption: Encryption, loop: HandlerLoop) -> None:
        self._encrypt: Any = encryption._blob_encryptor
        self._decrypt: Any = encryption._blob_decryptor
        self._loop = loop

    def seal(self, data: bytes) -> bytes:
        """Encrypt bytes. Raises the handler's errors, and TypeError if its result is not bytes."""
        context = current_context()
        sealed = self._wait(self._encrypt(self._encryption_context(context), data), "encrypt.blob")
        return msgspec.msgpack.encode((context, sealed))

    def open(self, data: bytes) -> bytes:
        context, sealed = msgspec.msgpack.decode(data, type=tuple[str, bytes])
        return self._wait(self._decrypt(self._encryption_context(context), sealed), "decrypt.blob")

    def _encryption_context(self, context: str) -> Any:
        from langgraph_sdk import EncryptionContext

        return EncryptionContext(model="checkpoint", field="blob", metadata=msgspec.json.decode(context))

    def _wait(self, call: Coroutine[Any, Any, Any], name: str) -> bytes:
        result = self._loop.wait(call)
        result = getattr(result, "plaintext", result)  # a DecryptResult: what is in the log is not replaced
        if not isinstance(result, bytes):
            raise TypeError(f"the encryption handler {name} gave {type(result).__name__}, not bytes")
        return result


class CheckpointCiphers:
    """The configured ciphers, the first of them for writing. ``json``: the cipher of JSON beside checkpoints."""

    def __init__(self, *ciphers: Cipher, json: JsonCipher | None = None) -> None:
        self.json = json or JsonCipher()
        self._writing = ciphers[0] if ciphers else None
        self._by_mark = {cipher.mark: cipher for cipher in ciphers}

    @property
    def holds_thread(self) -> bool:
        """Whether sealing and opening wait for code of the project's, and must not be done on a loop that others need."""
        return self.json.any or HandlerCipher.mark in self._by_mark

    def seal(self, kind: str, data: bytes) -> tuple[str, bytes]:
        cipher = self._writing
        return (kind, data) if cipher is None else (kind + cipher.mark, cipher.seal(data))

    def open(self, kind: str, data: bytes) -> tuple[str, bytes]:
        """Decrypt bytes. Raises CheckpointUnreadable, and the handlers' errors."""
        for mark, source in SOURCES.items():
            if kind.endswith(mark):
                cipher = self._by_mark.get(mark)
                if cipher is None:
                    raise CheckpointUnreadable(f"a checkpoint is encrypted by {source}, which is not configured now")
                return kind[: -len(mark)], cipher.open(data)
        return kind, data


SOURCES = {AesCipher.mark: "LANGGRAPH_AES_KEY", HandlerCipher.mark: "the handlers of encryption.path"}


def checkpoint_ciphers(project: Project | None, settings: Settings) -> CheckpointCiphers:
    """Return the ciphers that the project and its environment configure. Imports the project's handlers. Raises StartError."""
    ciphers: list[Cipher] = []
    json = JsonCipher()
    if project is not None and project.section("encryption"):
        if settings.encryption == "off":
            raise StartError(
                f"{project.file}: 'encryption' needs LANGLOG_ENCRYPTION=on as well: its handlers encrypt checkpoints, and the log holds inputs, "
                "outputs and metadata of threads besides"
            )
        encryption, loop = _load(project), HandlerLoop()
        ciphers.append(HandlerCipher(encryption, loop))
        try:
            if project.section("encryption").get("json") != "clear" and has_json_handlers(encryption):
                json = JsonCipher(JsonHandlers(encryption), loop)
        except HandlerFault as fault:
            raise StartError(f"{project.file}: encryption.path: {fault}") from None
    if settings.aes_key:
        ciphers.append(AesCipher(settings.aes_key))
    return CheckpointCiphers(*ciphers, json=json)


def _load(project: Project) -> Encryption:
    from langgraph_sdk import Encryption

    reference = project.section("encryption")["path"]
    where = f"{project.file}: encryption.path"
    encryption: Any = load_object(project, "encryption.path", reference, shared=True)
    if not isinstance(encryption, Encryption):
        raise StartError(f"{where}: {reference!r} is a {type(encryption).__name__}, not a langgraph_sdk.Encryption")
    if encryption._blob_encryptor is None or encryption._blob_decryptor is None:
        raise StartError(f"{where}: {reference!r} needs handlers for both encrypt.blob and decrypt.blob")
    return encryption
