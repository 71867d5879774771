"""Ids of topics, by the names of which clients read and write: a topic that was deleted and made again has the same name and another id.

aiokafka queries metadata in a version without ids (KIP-516 added them, Kafka 2.8), so the newer version is described here. Of each partition
nothing is decoded: a query is repeated all the time.

Pure, but for the query.
"""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError, UnknownTopicOrPartitionError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)

NO_ID = bytes(16)
"""Id in requests by name, and of every topic where brokers know no ids."""
PARTITION_BYTES = 14
"""Bytes of a partition before its three lists of brokers: error, number, leader and epoch of the leader."""
PARTITION_LISTS = 3
NODE_BYTES = 4


class Uuid:
    """A field of 16 bytes."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value

    @staticmethod
    def decode(data: BytesIO) -> bytes:
        return data.read(16)


class PassedPartitions:
    """The partitions of a topic, of which only the number is decoded."""

    @staticmethod
    def decode(data: BytesIO) -> int:
        count: int = UnsignedVarInt32.decode(data) - 1
        for _ in range(count):
            data.seek(PARTITION_BYTES, 1)
            for _ in range(PARTITION_LISTS):
                data.seek(NODE_BYTES * max(0, UnsignedVarInt32.decode(data) - 1), 1)
            TaggedFields.decode(data)
        return count


class TopicIdsResponse(Response):  # type: ignore[misc]
    """Metadata, version 10. What follows the topics is left undecoded."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString()),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                ("partitions", PassedPartitions),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
    )


class TopicIdsRequest_v10(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = TopicIdsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicIdsRequest(Request[MetadataRequest_v5 | TopicIdsRequest_v10]):  # type: ignore[misc]
    """Requests these topics, and has none of them made; in the older version where brokers know no ids."""

    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = list(topics)

    def build(
        self, request_struct_class: type[MetadataRequest_v5 | TopicIdsRequest_v10]
    ) -> MetadataRequest_v5 | TopicIdsRequest_v10:
        if request_struct_class.API_VERSION < TopicIdsRequest_v10.API_VERSION:
            return request_struct_class(topics=self._topics, allow_auto_topic_creation=False)
        return request_struct_class(
            topics=[(NO_ID, topic, {}) for topic in self._topics],
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
            tags={},
        )


async def topic_ids(client: AIOKafkaClient, topics: Collection[str]) -> dict[str, bytes | None]:
    """Return the id of each topic, or None for one that does not exist; topics whose state a broker does not tell are left out.

    Raises KafkaError, OSError, TimeoutError.
    """
    node = client.get_random_node()
    if node is None:
        raise NodeNotReadyError("no broker is known")
    response: Any = await client.send(node, TopicIdsRequest(topics))
    return {name: _id(fields) for error, name, *fields in response.topics if error == 0} | {
        name: None for error, name, *_ in response.topics if error == UnknownTopicOrPartitionError.errno
    }


def _id(fields: list[Any]) -> bytes:
    return fields[0] if isinstance(fields[0], bytes) else NO_ID
