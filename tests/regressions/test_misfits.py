"""States that do not fit their graph: shown with an error per field, and repaired by an update."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient

BAD_MESSAGE = {"messages": [{"role": "nobody", "content": "a"}]}


@pytest.mark.parametrize(
    ("graph", "given", "errors", "shown", "mending"),
    [
        ("counted", {"write": {"count": "x"}}, {"count": "valid integer"}, {"count": "x"}, {"count": 2}),
        (
            "counted",
            {"write": {"count": None, "inner": {"name": 3}}},
            {"count": "valid integer", "inner": "name: Input should be a valid string"},
            {"count": None, "inner": {"name": 3}},
            {"count": 2, "inner": {"name": "a"}},
        ),
        ("shaped", {"write": {"count": "x"}}, {"__root__": "count is a str"}, {"count": "x"}, {"count": 2}),
    ],
)
async def test_a_wrongly_typed_field_is_named_and_an_update_mends_it(
    client: LangGraphClient,
    thread: str,
    graph: str,
    given: dict[str, Any],
    errors: dict[str, str],
    shown: dict[str, Any],
    mending: dict[str, Any],
) -> None:
    failed: Any = await client.runs.wait(thread, graph, input=given, raise_error=False)
    assert "__error__" in failed
    result: Any = await client.threads.get(thread)
    assert result["status"] == "error"
    assert shown.items() <= result["values"].items(), "the thread, too, shows what there is"
    state: Any = await client.threads.get_state(thread)
    history: Any = await client.threads.get_history(thread)
    at: Any = await client.threads.get_state(thread, checkpoint=state["checkpoint"])
    for one in (state, history[0], at):
        assert shown.items() <= one["values"].items()
        assert one["next"] == ["finish"]
        assert one["errors"].keys() == errors.keys()
        for field, words in errors.items():
            assert words in one["errors"][field]["message"]
    assert [("errors" in one) for one in history] == [True, False, False]
    await client.threads.update_state(thread, mending)
    mended: Any = await client.threads.get_state(thread)
    assert mending.items() <= mended["values"].items()
    assert "errors" not in mended
    assert len(await client.threads.get_history(thread)) == 4
    done: Any = await client.runs.wait(thread, graph, input=None)
    assert done["done"] is True


async def test_an_input_that_a_reducer_refuses_leaves_its_thread_readable(client: LangGraphClient, thread: str) -> None:
    hello: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
    await client.runs.wait(thread, "agent", input=hello)
    failed: Any = await client.runs.wait(thread, "agent", input=BAD_MESSAGE, raise_error=False)
    assert "nobody" in failed["__error__"]["message"]
    state: Any = await client.threads.get_state(thread)
    assert state["errors"].keys() == {"messages"}
    assert state["values"]["messages"][0]["content"] == "hello"
    history: Any = await client.threads.get_history(thread)
    assert history[0]["values"]["messages"] == state["values"]["messages"]
    await client.threads.update_state(thread, {"messages": [{"role": "assistant", "content": "sorry"}]})
    assert "errors" not in await client.threads.get_state(thread)
    again: Any = await client.runs.wait(thread, "agent", input=hello)
    assert again["messages"][-1]["type"] == "ai"


async def test_an_update_that_does_not_fit_is_shown_and_mended(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "counted", input={"write": {"count": 1}}, interrupt_before=["finish"])
    await client.threads.update_state(thread, {"count": "x"})
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["count"] == "x"
    assert state["errors"].keys() == {"count"}
    part: Any = await client.http.get(f"/threads/{thread}/state", params={"select": "next"})
    assert part.keys() == {"next", "errors"}, "what is wrong is never left out"
    await client.threads.update_state(thread, {"count": 3})
    done: Any = await client.runs.wait(thread, "counted", input=None)
    assert (done["count"], done["done"]) == (3, True)
