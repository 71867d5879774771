"""Config and context of default assistants, as LANGGRAPH_CONFIG sets them on a server, reach their graph and nothing else."""

from __future__ import annotations

from typing import Any

from langgraph_sdk.client import LangGraphClient

from tests.integrations.conftest import DEFAULTS


async def test_what_the_environment_says_of_a_default_assistant_reaches_its_graph(client: LangGraphClient) -> None:
    (assistant,) = await client.assistants.search(graph_id="configured")
    given = DEFAULTS["configured"]
    assert assistant["context"] == given["context"]
    expected = {name: value for name, value in given.items() if name != "context"}
    assert assistant["config"] == {**expected, "configurable": given["context"]}

    said: Any = (await client.runs.wait(None, "configured", input={}))["said"]  # type: ignore[call-overload, index]
    assert said == {
        "tags": ["t"],
        "recursion_limit": 7,
        "max_concurrency": 2,
        "tone": "calm",
        "context": {"tone": "calm"},
    }


async def test_a_run_says_otherwise_and_other_assistants_have_nothing_of_it(client: LangGraphClient) -> None:
    run: Any = await client.runs.wait(None, "configured", input={}, context={"tone": "loud"}, config={"tags": ["u"]})
    assert (run["said"]["tone"], run["said"]["context"], run["said"]["tags"]) == ("loud", {"tone": "loud"}, ["u"])
    assert run["said"]["recursion_limit"] == 7
    own = await client.assistants.create("configured", name="own")
    other: Any = await client.runs.wait(None, own["assistant_id"], input={})
    assert (other["said"]["tone"], other["said"]["context"]) == (None, {})
