"""Encryption with a key for each tenant, as in LangGraph's documentation, and authentication that identifies the tenant."""

import hashlib
from itertools import cycle

from langgraph_sdk import Auth, Encryption, EncryptionContext
from langgraph_sdk.encryption.types import DecryptResult

auth = Auth()
encryption = Encryption()


@auth.authenticate
async def authenticate(authorization: str | None) -> dict:
    return {"identity": authorization or "nobody"}


@encryption.context
async def context(user, ctx: EncryptionContext) -> dict:
    return {**ctx.metadata, "tenant": user.identity}


def _mixed(ctx: EncryptionContext, data: bytes) -> bytes:
    tenant = ctx.metadata["tenant"]
    if tenant == "stranger":
        raise PermissionError("stranger has no key")
    key = hashlib.sha256(tenant.encode()).digest()
    return bytes(a ^ b for a, b in zip(data, cycle(key)))


@encryption.encrypt.blob
async def encrypt_blob(ctx: EncryptionContext, data: bytes) -> bytes:
    assert ctx.model == "checkpoint"
    return b"sealed " + _mixed(ctx, data)


@encryption.decrypt.blob
async def decrypt_blob(ctx: EncryptionContext, data: bytes) -> bytes | DecryptResult[bytes]:
    result = _mixed(ctx, data.removeprefix(b"sealed "))
    return DecryptResult(result, replacement=data) if ctx.metadata.get("rotated") else result


@encryption.encrypt.json
async def encrypt_json(ctx: EncryptionContext, data: dict) -> dict:
    return data


@encryption.decrypt.json
async def decrypt_json(ctx: EncryptionContext, data: dict) -> dict:
    return data
