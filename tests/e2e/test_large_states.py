"""Inputs, states and histories larger than a part of the log and than what Redis' channels take."""

from __future__ import annotations

import base64
import random
import uuid

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

from .test_runs import thread_of

STATE_BYTES = 20_000_000
"""More than goes into one record where it can be split."""
IMAGE_BYTES = 5_500_000
IMAGES = 4
"""Number of images, as large as photographs of phones: with base64, 29 MB in one request."""


async def test_a_state_over_the_record_limit_is_answered_stored_and_streamed(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    given = {"bytes": STATE_BYTES}
    bulk = "x" * STATE_BYTES
    assert await client.runs.wait(thread, "bulky", input=given) == {"bytes": STATE_BYTES, "bulk": bulk}
    assert (await client.threads.get(thread))["values"]["bulk"] == bulk
    assert (await client.threads.get_state(thread))["values"]["bulk"] == bulk
    parts = [part async for part in client.runs.stream(None, "bulky", input=given, stream_mode="values")]
    assert [part.event for part in parts] == ["metadata", "values", "values"]
    assert parts[-1].data["bulk"] == bulk
    assert (await client.runs.wait(None, "bulky", input=given))["bulk"] == bulk


async def test_a_large_page_of_history_comes_and_one_over_the_limit_says_what_to_do(client: LangGraphClient) -> None:
    thread = await thread_of(client)
    for _ in range(2):
        await client.runs.wait(thread, "bulky", input={"bytes": 11_000_000})
    page = await client.threads.get_history(thread, limit=4)
    assert [len(state["values"].get("bulk", "")) for state in page] == [11_000_000] * 4
    for _ in range(2):
        await client.runs.wait(thread, "bulky", input={"bytes": 11_000_000})
    with pytest.raises(APIStatusError) as raised:
        await client.threads.get_history(thread, limit=100)
    assert raised.value.status_code == 413
    assert "smaller `limit`" in str(raised.value.body)
    assert len(await client.threads.get_history(thread, limit=2)) == 2


async def test_images_in_an_input_an_update_and_the_store_come_back_as_they_were_sent(client: LangGraphClient) -> None:
    chance = random.Random(1)
    urls = [f"data:image/png;base64,{base64.b64encode(chance.randbytes(IMAGE_BYTES)).decode()}" for _ in range(IMAGES)]
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    seen = f"{sum(map(len, urls))} characters"

    def sent(id: str, images: int = IMAGES) -> dict[str, object]:
        return {"messages": [{"role": "user", "content": content[:images], "id": id}]}

    thread = await thread_of(client)
    values = await client.runs.wait(thread, "viewer", input=sent("a"), raise_error=True)
    assert isinstance(values, dict)
    assert [message["content"] for message in values["messages"]] == [content, seen]
    stream = client.runs.stream(None, "viewer", input=sent("a"), stream_mode="values")
    last = [part async for part in stream][-1]
    assert [message["content"] for message in last.data["messages"]] == [content, seen]
    other = await thread_of(client)
    await client.threads.update(other, metadata={"graph_id": "viewer"})
    await client.threads.update_state(other, sent("b", 2))
    state = await client.threads.get_state(other)
    assert isinstance(state["values"], dict)
    assert [message["content"] for message in state["values"]["messages"]] == [content[:2]]
    namespace = ["images", str(uuid.uuid4())]
    await client.store.put_item(namespace, "photographs", {"urls": urls[:2]})
    assert (await client.store.get_item(namespace, "photographs"))["value"] == {"urls": urls[:2]}
    for made in (thread, other):
        await client.threads.delete(made)
    await client.store.delete_item(namespace, "photographs")
