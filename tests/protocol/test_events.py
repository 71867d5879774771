"""Frames as events of the streaming protocol: their text, their ids, derived events of a lost run, and filters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_protocol import protocol
from langlog_gateway.protocol.events import Ending, Event, derived, event_of, is_python_sdk, shown_values, tree
from langlog_gateway.protocol.filter import CHANNELS, BadFilter, Filter, read_filter
from langlog_schemas.frames import Frame
from langlog_schemas.runs.errors import RunError

HUMAN = {
    "content": "hi",
    "additional_kwargs": {},
    "response_metadata": {},
    "type": "human",
    "name": None,
    "id": "m1",
}
TOOL = {**HUMAN, "type": "tool", "name": "add", "tool_call_id": "c1", "artifact": None, "status": "success"}


def made(name: str, data: Any, seq: int = 7) -> Event:
    event = event_of("run", Frame(3, 1700, 2, name, json.dumps(data).encode(), seq))
    assert event is not None
    return event


def ending(**changes: Any) -> Ending:
    return Ending(
        **{
            "run_id": "run",
            "graph_id": "agent",
            "status": "success",
            "first_event_number": 5,
            "last_event_number": 12,
            "started_ms": 1,
            "ended_ms": 2,
            **changes,
        }
    )


def seen(events: list[Event]) -> list[tuple[int, str, Any]]:
    return [(e.seq, e.method, json.loads(e.text)["params"]["data"].get("event")) for e in events]


def test_an_event_has_its_number_its_namespace_and_the_time_of_its_frame() -> None:
    event = made("@messages|child:1|inner:2", {"event": "message-finish"})
    assert json.loads(event.text) == {
        "type": "event",
        "event_id": "1700-2",
        "seq": 7,
        "method": "messages",
        "params": {"namespace": ["child:1", "inner:2"], "timestamp": 1700, "data": {"event": "message-finish"}},
    }
    assert event.sse == b"event: messages\ndata: " + event.text + b"\nid: 7\n\n"


@pytest.mark.parametrize(
    ("name", "id", "channel", "method"),
    [
        ("@lifecycle/running", "synth:run:lc||running", "lifecycle", "lifecycle"),
        ("@@lifecycle/failed", "synth:run:lc||failed", "lifecycle", "lifecycle"),
        ("@lifecycle|child:1", "1700-2", "lifecycle", "lifecycle"),
        ("@lifecycle/completed|a:1|b:2", "synth:run:lc|a:1\ufffdb:2|completed", "lifecycle", "lifecycle"),
        ("@@input.requested/abc", "synth:run:input||abc", "input", "input.requested"),
        ("values|child:1", "1700-2", "values", "values"),
        ("@values", "1700-2", "values", "values"),
        ("@tools", "1700-2", "tools", "tools"),
    ],
)
def test_what_happens_once_in_a_run_has_the_same_id_for_everybody(
    name: str, id: str, channel: str, method: str
) -> None:
    event = made(name, {})
    assert (json.loads(event.text)["event_id"], event.channel, event.method) == (id, channel, method)


def test_a_question_is_told_as_the_protocol_has_it_and_the_python_client_finds_it_where_it_looks() -> None:
    asked = {"interrupt_id": "i1", "payload": {"sure": [1, None]}}
    values = {"a": 1, "__interrupt__": [{"value": {"sure": [1, None]}, "id": "i1"}]}
    [lost] = [e for e in derived(ending(values=json.dumps(values).encode()), 5) if e.method == "input.requested"]
    for event in (made("@@input.requested/i1", asked), lost):
        assert json.loads(event.text)["params"]["data"] == asked
        sdk = event.for_sdk
        assert json.loads(sdk.text)["params"]["data"] == {**asked, "value": {"sure": [1, None]}}
        assert (sdk.seq, sdk.channel, json.loads(sdk.text)["event_id"]) == (
            event.seq,
            event.channel,
            json.loads(event.text)["event_id"],
        )
    other = made("@lifecycle/running", {"event": "running"})
    assert other.for_sdk is other
    assert is_python_sdk("langgraph-sdk-py/0.4.14")
    assert is_python_sdk("Python/3.11 websockets/15.0.1")
    assert not is_python_sdk("Mozilla/5.0 langgraph-sdk-js")


def test_frames_without_a_number_are_no_events() -> None:
    assert event_of("run", Frame(1, 1, 1, "updates", b"{}")) is None


def test_values_show_messages_without_what_says_nothing_and_no_interrupts() -> None:
    state = {"messages": [HUMAN, TOOL], "one": HUMAN, "n": 1, "__interrupt__": [{"id": "x", "value": 1}]}
    assert json.loads(shown_values(json.dumps(state).encode())) == {
        "messages": [
            {"type": "human", "content": "hi", "id": "m1"},
            {
                "type": "tool",
                "content": "hi",
                "id": "m1",
                "name": "add",
                "tool_call_id": "c1",
                "artifact": None,
                "status": "success",
            },
        ],
        "one": {"type": "human", "content": "hi", "id": "m1"},
        "n": 1,
    }


SMALL = st.text(max_size=8)


@given(
    st.recursive(
        st.none() | st.integers() | SMALL,
        lambda x: st.lists(x, max_size=4) | st.dictionaries(SMALL, x, max_size=4),
        max_leaves=12,
    )
)
def test_values_without_messages_stay_as_they_are(value: Any) -> None:
    assert json.loads(shown_values(json.dumps(value).encode())) == value


def test_of_a_run_that_nobody_kept_its_beginning_its_values_and_its_end_are_told() -> None:
    result = derived(ending(values=b'{"a":1}'), 0)
    assert seen(result) == [(5, "lifecycle", "running"), (11, "values", None), (12, "lifecycle", "completed")]
    assert seen(derived(ending(values=b'{"a":1}'), 11)) == [(12, "lifecycle", "completed")]
    assert seen(derived(ending(status="error", error="bad"), 0)) == [
        (5, "lifecycle", "running"),
        (12, "lifecycle", "failed"),
    ]


def test_an_error_without_a_text_is_an_empty_one_as_the_worker_tells_it() -> None:
    (*_, end) = derived(ending(status="error", error=None), 0)
    assert json.loads(end.text)["params"]["data"]["error"] == ""
    stored = msgspec.json.encode(RunError("ValueError", ""))
    assert b"message" not in stored, "so the read model has none"


def test_of_a_run_that_waits_for_answers_the_questions_are_told_before_its_end() -> None:
    asked = [{"value": "q1", "id": "i1"}, {"value": "q2", "id": "i2"}]
    result = derived(ending(values=json.dumps({"a": 1, "__interrupt__": asked}).encode()), 5)
    assert seen(result) == [
        (9, "input.requested", None),
        (10, "input.requested", None),
        (11, "lifecycle", "interrupted"),
        (12, "values", None),
    ]
    assert b"__interrupt__" not in result[-1].text


def test_a_run_that_told_nothing_is_no_event() -> None:
    assert derived(ending(first_event_number=0, last_event_number=0), 0) == []


def test_the_end_of_a_run_that_lost_its_worker_is_its_only_event() -> None:
    assert seen(derived(ending(first_event_number=9, last_event_number=9, status="interrupted"), 3)) == [
        (9, "lifecycle", "interrupted")
    ]


# --- filters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "namespace", "wanted"),
    [
        ({}, ["child:1"], True),
        ({"namespaces": [["child"]]}, ["child:1"], True),
        ({"namespaces": [["child"]]}, ["child:1", "inner:2"], True),
        ({"namespaces": [["child:2"]]}, ["child:1"], False),
        ({"namespaces": [["child"]]}, [], False),
        ({"namespaces": [["child"]], "depth": 0}, ["child:1"], True),
        ({"namespaces": [["child"]], "depth": 0}, ["child:1", "inner:2"], False),
        ({"namespaces": [[]], "depth": 1}, ["child:1"], True),
        ({"namespaces": [[]], "depth": 1}, ["child:1", "inner:2"], False),
        ({"depth": 0}, ["child:1"], True),
        ({"namespaces": "x", "depth": -1}, ["child:1"], True),
    ],
)
def test_namespaces_are_prefixes_and_depth_counts_from_them(
    params: dict[str, Any], namespace: list[str], wanted: bool
) -> None:
    event = Event(1, "values", "values", tuple(namespace), b"{}")
    assert read_filter({"channels": ["values"], **params}).wants(event) is wanted


def test_custom_is_every_custom_event_and_a_named_one_only_that() -> None:
    event = Event(1, "custom", "custom:a", (), b"{}")
    assert Filter(frozenset({"custom"})).wants(event)
    assert Filter(frozenset({"custom:a"})).wants(event)
    assert not Filter(frozenset({"custom:b"})).wants(event)


@pytest.mark.parametrize("channels", [None, [], "values", [1], ["values", "zzz"], ["custom:"], ["values"] * 100])
def test_channels_that_are_none_are_refused(channels: Any) -> None:
    with pytest.raises(BadFilter):
        read_filter({"channels": channels})


def test_the_channels_are_those_of_the_type_package() -> None:
    named = {get_args(literal)[0] for literal in get_args(protocol.Channel)} - {"custom:.+"}
    declared = {name for name in named if isinstance(name, str)}
    for channel in declared:
        read_filter({"channels": [channel]})
    assert set(CHANNELS) <= declared


# --- the tree ---------------------------------------------------------------------------------


def test_the_tree_shows_one_run_alone_with_subgraphs_below_the_graph_that_runs_them() -> None:
    def lifecycle(event: str, *namespace: str, name: str = "agent", run: str = "run") -> Event:
        hint = "" if namespace else f"/{event}"
        data = json.dumps({"event": event, "graph_name": name}).encode()
        result = event_of(run, Frame(3, 1700, 2, "|".join((f"@lifecycle{hint}", *namespace)), data, 7))
        assert result is not None
        return result

    before = [
        lifecycle("running", run="before"),
        lifecycle("started", "child:0", run="before"),
        lifecycle("completed", run="before"),
    ]
    assert tree(before, "run", "agent") == {"namespace": [], "status": "running", "graph_name": "agent"}
    result = tree(
        [
            *before,
            lifecycle("running"),
            lifecycle("started", "child:1", name="child"),
            lifecycle("started", "child:1", "inner:2", name="inner"),
            lifecycle("completed", "child:1", "inner:2", name="inner"),
            made("values", {"a": 1}),
            lifecycle("running", run="after"),
            lifecycle("failed", run="after"),
        ],
        "run",
        "agent",
    )
    inner = {"namespace": ["child:1", "inner:2"], "status": "completed", "graph_name": "inner"}
    child = {"namespace": ["child:1"], "status": "running", "graph_name": "child", "children": [inner]}
    assert result == {"namespace": [], "status": "running", "graph_name": "agent", "children": [child]}


def test_the_project_for_an_older_langgraph_lacks_only_what_has_transformers() -> None:
    folder = Path(__file__).parent / "project"
    whole, older = (json.loads((folder / name).read_text()) for name in ("langgraph.json", "without_transformers.json"))
    graphs = {name: path for name, path in whole["graphs"].items() if not path.startswith("./transforming.py:")}
    assert older == whole | {"graphs": graphs}
    assert "langgraph.stream" not in (folder / "graphs.py").read_text()
