"""Reference pages of the log's content: commands and events, from the published contracts (docs/contracts)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

from .http_api import members
from .pages import DOCS


@functools.cache
def contract() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DOCS / "contracts" / "asyncapi.json").read_text())
    return document


def events() -> str:
    return (
        "\n".join(
            [
                "# Events\n",
                "Every type of record in the topics of the log, from the published contracts: "
                "[asyncapi.json](../contracts/asyncapi.json) and one JSON Schema a type under `docs/contracts/schemas`. "
                "A record is a CloudEvent: its type is the header `ce_type`, with `langlog.` before the name. "
                "[Consume the log](../how-to/consuming.md) reads them; [Commands](commands.md) are on a page of their own.\n",
                *(line for topic in contract()["channels"] if topic != "commands" for line in topic_section(topic)),
            ]
        )
        + "\n"
    )


def commands() -> str:
    return (
        "\n".join(
            [
                "# Commands\n",
                "What gateways, workers and the scheduler append to the topic `commands`. The decider decides each into "
                "[events](events.md); other programs append none.\n",
                *topic_section("commands"),
            ]
        )
        + "\n"
    )


def topic_section(topic: str) -> Iterator[str]:
    channel = contract()["channels"][topic]
    messages = contract()["components"]["messages"]
    yield f"\n## Topic `{topic}` {{ #topic-{topic} }}\n"
    yield f"{channel['description']}\n"
    for name in channel.get("messages", {}):
        message = messages[name]
        reference = message["payload"].get("$ref")
        schema = contract()["components"]["schemas"][reference.rpartition("/")[2]] if reference else message["payload"]
        yield f"\n### `{name}` {{ #{re.sub(r'[^a-z0-9]+', '-', name)} }}\n"
        yield " ".join(message.get("summary", "").replace("``", "`").split()) + "\n"
        if properties := schema.get("properties"):
            for line in members(properties, set(schema.get("required", ()))):
                yield re.sub(r"\[([^\]]+)\]\(#[^)]*\)", r"\1", line).replace("``", "`")
            yield ""
