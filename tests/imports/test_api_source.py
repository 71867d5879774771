"""A server's objects are carried over by its public API: the target answers as the source does, and threads run on."""

from __future__ import annotations

import pytest

from tests.imports.conftest import client, history, run_import
from tests.stack.server import LiveServer

THREADS = {
    "agent": {"messages": [{"role": "user", "content": "add 2 3"}]},
    "asking": {"draft": "letter"},
    "nested": {"trail": []},
    "joined": {"log": []},
    "planning": {"done": []},
    "sending": {"items": [1, 2, 3]},
}


@pytest.fixture(scope="module")
def threads(source: LiveServer) -> dict[str, str]:
    """Graph -> a thread of it, with runs."""
    api = client(source)
    made = {}
    for graph, given in THREADS.items():
        thread = api.threads.create(metadata={"owner": "someone", "about": graph}, thread_id=None)["thread_id"]
        api.runs.wait(thread, graph, input=given)
        made[graph] = thread
    api.runs.wait(made["agent"], "agent", input={"messages": [{"role": "user", "content": "hello"}]})
    api.threads.update_state(made["agent"], {"messages": [{"role": "user", "content": "by hand"}]}, as_node="tools")
    failed = api.threads.create()["thread_id"]
    api.runs.wait(failed, "failing", input={"draft": "x"}, raise_error=False)
    made["failing"] = failed
    made["empty"] = api.threads.create(metadata={"empty": True})["thread_id"]
    made["kept"] = api.threads.create(ttl={"ttl": 600, "strategy": "keep_latest"})["thread_id"]
    api.runs.wait(made["kept"], "sending", input={"items": [4]})
    return made


@pytest.fixture(scope="module")
def others(source: LiveServer) -> dict[str, str]:
    """An assistant with three versions, items, a cron."""
    api = client(source)
    made = api.assistants.create("agent", context={"n": 1}, name="first", metadata={"team": "a"})["assistant_id"]
    api.assistants.update(made, context={"n": 2}, name="second", description="the second")
    api.assistants.update(made, graph_id="asking", metadata={"more": True})
    api.assistants.set_latest(made, 2)
    for n in range(250):
        api.store.put_item(["users", f"u{n % 5}", "notes"], f"k{n}", {"text": f"note {n}"})
    api.store.put_item(["top"], "only", {"a": [1, {"b": None}]})
    cron = api.crons.create(made, schedule="0 5 * * *", input={"messages": []}, metadata={"c": 1})["cron_id"]
    return {"assistant": made, "cron": cron}


def test_the_target_answers_as_the_source_does_and_threads_run_on(
    source: LiveServer, target: LiveServer, threads: dict[str, str], others: dict[str, str]
) -> None:
    looked = run_import(source, target, "--dry-run")
    assert looked["counts"]["threads"] == {"imported": len(threads), "unchanged": 0, "refused": 0}
    assert client(target).threads.count() == 0

    report = run_import(source, target)
    assert report["counts"]["threads"] == {"imported": len(threads), "unchanged": 0, "refused": 0}, report
    assert report["counts"]["items"]["imported"] == 251
    for thread_id in threads.values():
        same_thread(source, target, thread_id)
    same_others(source, target, others)

    again = run_import(source, target)
    assert again["counts"]["threads"] == {"imported": 0, "unchanged": len(threads), "refused": 0}
    assert {kind: counts["imported"] for kind, counts in again["counts"].items()} == dict.fromkeys(again["counts"], 0)

    answered(target, threads)


def same_thread(source: LiveServer, target: LiveServer, thread_id: str) -> None:
    there, here = client(source).threads, client(target).threads
    assert here.get(thread_id, include=["ttl"]) == there.get(thread_id, include=["ttl"])
    assert here.get_state(thread_id, subgraphs=True) == there.get_state(thread_id, subgraphs=True)
    assert history(target, thread_id) == history(source, thread_id)


def same_others(source: LiveServer, target: LiveServer, others: dict[str, str]) -> None:
    there, here = client(source), client(target)
    assistant = others["assistant"]
    assert here.assistants.get(assistant) == there.assistants.get(assistant)
    assert here.assistants.get_versions(assistant) == there.assistants.get_versions(assistant)
    for n in range(0, 260, 100):
        found = there.store.search_items([], limit=100, offset=n)
        assert here.store.search_items([], limit=100, offset=n) == found
    one, other = (api.crons.search()[0] for api in (there, here))
    paused = ("enabled", "next_run_date")
    assert {k: v for k, v in other.items() if k not in paused} == {k: v for k, v in one.items() if k not in paused}
    assert not other["enabled"]


def answered(target: LiveServer, threads: dict[str, str]) -> None:
    """Threads run on from where they were."""
    runs = client(target).runs
    assert runs.wait(threads["asking"], "asking", command={"resume": "yes"})["final"] == "draft of letter -> yes"
    assert runs.wait(threads["nested"], "nested", command={"resume": "leafy"})["said"] == "leafy"
    assert runs.wait(threads["joined"], "joined", command={"resume": "B"})["log"] == ["a", "b1", "answer B", "c"]
    assert runs.wait(threads["planning"], "planning", command={"resume": True})["done"] == ["pack", "go"]
    said = runs.wait(threads["agent"], "agent", input={"messages": [{"role": "user", "content": "add 4 5"}]})
    assert [m["content"] for m in said["messages"]][-2] == "9"
