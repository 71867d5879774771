"""Errors of a project's own code are reported as such, and its secrets stay secret."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError


async def test_the_text_of_a_projects_own_exception_reaches_the_client(client: LangGraphClient) -> None:
    result: Any = await client.runs.wait(None, "faulty", input={"how": "own"}, raise_error=False)
    assert result["__error__"] == {"error": "OwnError", "message": "the text of my own error"}


async def test_a_factorys_own_oserror_is_the_graphs_and_not_a_servers(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "fileless", input={"how": ""})
    for ask in (
        client.threads.get_state(thread),
        client.threads.get_history(thread),
        client.threads.update_state(thread, {"out": 1}),
    ):
        with pytest.raises((APIStatusError, httpx.HTTPStatusError)) as refused:
            await ask
        assert refused.value.response.status_code == 500
        assert refused.value.response.text.startswith("Internal Server Error\nFileNotFoundError: [Errno 2]")


async def test_secrets_are_masked_in_every_view_and_secrets_in_the_node(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    views: list[Any] = [
        await client.runs.wait(thread, "secretive", input={}),
        await client.threads.get_state(thread),
        await client.threads.get_history(thread),
        await client.threads.get(thread),
        await client.threads.search(ids=[thread]),
    ]
    assert [view for view in views if "hush" in repr(view) or "aHVzaC0y" in repr(view)] == []
    resumed: Any = await client.runs.wait(thread, "secretive", command={"resume": 1})
    assert resumed["out"] == ["SecretStr", "SecretBytes", "SecretStr"]
