"""Effects of each option of ``client.assistants``."""

from __future__ import annotations

import uuid
from typing import Any

from langlog_schemas.ids import default_assistant_id

from tests.sdk.changes_runs import other
from tests.sdk.options import Change, Options, Scene, Way, the_answer


async def to_make(scene: Scene) -> None:
    scene.args = {"graph_id": "contextual"}


async def made(scene: Scene) -> None:
    """An assistant in its second version."""
    assistant = await scene.client.assistants.create("contextual", metadata={"suite": scene.suite, "v": 1}, name="one")
    id = scene.about["assistant"] = scene.name("assistant", assistant["assistant_id"])
    await scene.client.assistants.update(id, metadata={"v": 2}, name="two")
    scene.args = {"assistant_id": id}


async def of_nested(scene: Scene) -> None:
    id = scene.about["assistant"] = scene.name("assistant", default_assistant_id("nested"))
    scene.args = {"assistant_id": id}


async def several(scene: Scene) -> None:
    for n, graph in enumerate(("contextual", "echo", "echo")):
        metadata = {"suite": scene.suite, "n": n}
        await scene.client.assistants.create(graph, metadata=metadata, name=f"{'cab'[n]} {scene.suite}")
    scene.args = {"metadata": {"suite": scene.suite}}


async def with_a_thread(scene: Scene) -> None:
    await made(scene)
    thread = (await scene.client.threads.create())["thread_id"]
    await scene.client.runs.wait(thread, scene.assistant, input={"text": "x"})
    scene.about["thread"] = thread


async def threads_left(scene: Scene, given: Options, answer: Any) -> Any:
    return {"threads": await scene.client.threads.count(metadata={"assistant_id": scene.assistant})}


async def id_of(scene: Scene, given: Options, answer: Any) -> Any:
    return {**answer, "id": scene.known.get(answer["assistant_id"])}


def fixed(s: Scene) -> str:
    return s.name("fixed", str(uuid.uuid4()))


ID = {"assistant_id": other("assistant")}
CONTENT = {
    "graph_id": Change("graph_id", "echo", "contextual"),
    "config": Change("config.tags", {"tags": ["t"]}),
    "context": Change("context.tone", {"tone": "cool"}),
    "metadata": Change("metadata.k", {"k": 1}),
    "name": Change("name", "mine"),
    "description": Change("description", "what it does"),
}

ASSISTANTS: dict[str, Way] = {
    "assistants.create": Way(
        to_make,
        id_of,
        {
            **CONTENT,
            "assistant_id": Change("id", lambda s: fixed(s)),
            "if_exists": Change(
                "error", "do_nothing", None, {"assistant_id": lambda s: s.assistant, "graph_id": "echo"}, set=made
            ),
        },
    ),
    "assistants.get": Way(made, the_answer, ID),
    "assistants.get_graph": Way(of_nested, the_answer, {**ID, "xray": Change("nodes.length", True)}),
    "assistants.get_schemas": Way(of_nested, the_answer, ID),
    "assistants.get_subgraphs": Way(
        of_nested,
        the_answer,
        {**ID, "namespace": Change("child", "nope"), "recurse": Change("child|inner", True)},
    ),
    "assistants.update": Way(made, the_answer, {**ID, **CONTENT}),
    "assistants.delete": Way(made, threads_left, {**ID, "delete_threads": Change("threads", True, set=with_a_thread)}),
    "assistants.search": Way(
        several,
        the_answer,
        {
            "metadata": Change("length", lambda s: {"suite": s.suite, "n": 1}, lambda s: {"suite": s.suite}),
            "graph_id": Change("length", "echo"),
            "name": Change("length", lambda s: f"a {s.suite}"),
            "limit": Change("length", 1),
            "offset": Change("length", 1),
            "sort_by": Change("*.metadata.n", "name"),
            "sort_order": Change("*.metadata.n", "asc"),
            "select": Change("*.metadata", ["assistant_id"]),
            "response_format": Change("assistants", "object"),
        },
    ),
    "assistants.count": Way(
        several,
        the_answer,
        {
            "metadata": Change("answer", lambda s: {"suite": s.suite, "n": 1}, lambda s: {"suite": s.suite}),
            "graph_id": Change("answer", "echo"),
            "name": Change("answer", lambda s: f"a {s.suite}"),
        },
    ),
    "assistants.get_versions": Way(
        made,
        the_answer,
        {
            **ID,
            "metadata": Change("length", {"v": 1}),
            "limit": Change("length", 1),
            "offset": Change("length", 1),
        },
    ),
    "assistants.set_latest": Way(
        made,
        the_answer,
        {"assistant_id": other("assistant")._replace(more={"version": 1}), "version": Change("name", 1, 2)},
    ),
}
