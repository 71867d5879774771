"""Encryption of checkpoints and of JSON with a key for each tenant, as LangGraph's documentation has it. ``owner`` and ``color`` stay clear."""

import base64
import hashlib
import json
from itertools import cycle

from langgraph_sdk import Auth, Encryption, EncryptionContext

auth = Auth()
encryption = Encryption()
CLEAR = {"owner", "color"}
PREFIX = "encrypted:"


@auth.authenticate
async def authenticate(authorization: str | None) -> dict:
    return {"identity": authorization or "nobody"}


@auth.on.threads
async def own_threads(ctx: Auth.types.AuthContext, value: dict) -> dict:
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        metadata["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@encryption.context
async def context(user, ctx: EncryptionContext) -> dict:
    return {**ctx.metadata, "tenant": user.identity}


def _mixed(ctx: EncryptionContext, data: bytes) -> bytes:
    key = hashlib.sha256(ctx.metadata["tenant"].encode()).digest()
    return bytes(a ^ b for a, b in zip(data, cycle(key)))


@encryption.encrypt.blob
async def encrypt_blob(ctx: EncryptionContext, data: bytes) -> bytes:
    return _mixed(ctx, data)


@encryption.decrypt.blob
async def decrypt_blob(ctx: EncryptionContext, data: bytes) -> bytes:
    return _mixed(ctx, data)


@encryption.encrypt.json
async def encrypt_json(ctx: EncryptionContext, data: dict) -> dict:
    if "unkept" in data:
        return {"other": 1}
    if ctx.metadata["tenant"] == "careless":
        return {name: f"{PREFIX}{value}" for name, value in data.items()}
    return {
        name: value
        if name in CLEAR or value is None
        else PREFIX + base64.b64encode(_mixed(ctx, json.dumps(value).encode())).decode()
        for name, value in data.items()
    }


@encryption.decrypt.json
async def decrypt_json(ctx: EncryptionContext, data: dict) -> dict:
    return {name: json.loads(_mixed(ctx, base64.b64decode(value.removeprefix(PREFIX)))) for name, value in data.items()}
