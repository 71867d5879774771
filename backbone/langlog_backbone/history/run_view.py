"""A run's kwargs as the API and webhooks show them (wire contract §5 and §12). Pure; members that are passed on unread stay ``Raw``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import msgspec
from msgspec import Raw


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


LANGLOG_VERSION = _package("langlog")
LANGGRAPH_VERSION = _package("langgraph")
PLAN = "enterprise"
HOST = "self-hosted"

_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, Raw])


def shown_kwargs(kwargs: str | bytes, metadata: str, attempt: int, *, finished: bool = False) -> str:
    """Return the kwargs with ``config.metadata``, which shows more once the run has been taken up (``attempt`` over 0).

    ``finished``: as a webhook shows them.
    """
    members = _members.decode(kwargs)
    config = _members.decode(members["config"])
    shown = msgspec.json.decode(metadata)
    if attempt:
        shown |= {
            "run_attempt": attempt,
            "langgraph_version": LANGGRAPH_VERSION,
            "langgraph_api_version": LANGLOG_VERSION,
            "langgraph_plan": PLAN,
            "langgraph_host": HOST,
        }
        if finished:
            configurable = _members.decode(config.get("configurable") or b"{}")
            config["configurable"] = Raw(_encode({**configurable, "__pregel_node_finished": None}))
    config["metadata"] = Raw(_encode(shown))
    members["config"] = Raw(_encode(config))
    for name in ("traceparent", "sealed"):  # between services alone
        members.pop(name, None)
    return _encode(members).decode()
