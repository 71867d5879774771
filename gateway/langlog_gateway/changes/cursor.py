"""Position of a reader of the feed: positions of the partitions that lists are derived from, as one opaque text. Pure.

Positions are those of the log, so a cursor means the same on every gateway, after a rebuild of the read model and after Postgres has
lost its last commits. ``mark`` names deployment and read model: a cursor of another one is rejected.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec
from langlog_schemas import events as ev

TopicPartition = tuple[str, int]
"""Topic and partition."""
CHARACTERS_MAX = 16_384
"""Maximum length of a cursor, in characters; a longer one is ignored."""


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    mark: bytes
    positions: list[dict[int, int]]
    """For each topic, in the order of `LISTED_TOPICS`: partition -> position, if that is not 0."""


_decoder = msgspec.msgpack.Decoder(_Cursor)


def encode(mark: bytes, positions: Mapping[TopicPartition, int]) -> str:
    by_topic: list[dict[int, int]] = [{} for _ in ev.LISTED_TOPICS]
    for (topic, part), position in positions.items():
        if position:
            by_topic[ev.LISTED_TOPICS.index(topic)][part] = position
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(_Cursor(mark, by_topic))).decode().rstrip("=")


def decode(text: str, mark: bytes) -> dict[TopicPartition, int] | None:
    """Return the positions; those that are not named are 0. None: not a cursor of this read model."""
    if len(text) > CHARACTERS_MAX:
        return None
    try:
        cursor = _decoder.decode(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (binascii.Error, UnicodeEncodeError, ValueError, msgspec.MsgspecError):
        return None
    if cursor.mark != mark or len(cursor.positions) != len(ev.LISTED_TOPICS):
        return None
    return {
        (topic, part): position
        for topic, parts in zip(ev.LISTED_TOPICS, cursor.positions, strict=True)
        for part, position in parts.items()
    }
