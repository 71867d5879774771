"""States and histories larger than a record of the log and than what Redis' channels take."""

from __future__ import annotations

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

from .test_runs import thread_of

STATE_BYTES = 20_000_000
"""Over the record limit of 16 MB."""


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
