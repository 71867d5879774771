"""The parts that touch nothing: layering, merging, encoding, validation, filters."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from langlog_backbone.metrics.exposition import rendered
from langlog_gateway.http import validation
from langlog_gateway.http.errors import ApiError, KeyedError, PlainError, reason_of
from langlog_gateway.http.metrics import Metrics
from langlog_gateway.http.options import HttpOptions
from langlog_gateway.http.run_config import mirrored
from langlog_gateway.requests.assistants import ASSISTANT_COUNT, ASSISTANT_LATEST, ASSISTANT_SEARCH
from langlog_gateway.requests.runs import CANCEL_MANY, RUN_BATCH, RUN_CREATE
from langlog_gateway.requests.states import STATE_UPDATE
from langlog_gateway.requests.store import STORE_PUT, STORE_SEARCH
from langlog_gateway.requests.threads import THREAD_COUNT, THREAD_CREATE, THREAD_PRUNE, THREAD_SEARCH
from langlog_gateway.runs import submission
from langlog_gateway.streams import sequencer as sequencer_module
from langlog_gateway.streams import sse
from langlog_gateway.streams.backlog import is_complete
from langlog_gateway.streams.sequencer import START, FrameSequencer
from langlog_gateway.streams.sse import Batch
from langlog_gateway.threads import copy as thread_copy
from langlog_gateway.threads.search import extractions
from langlog_schemas.frames import ATTEMPT_SPAN, Frame, FrameBatch
from langlog_schemas.runs.request import Assistant, RunCreate, Server

SERVER = Server(run_id="r", thread_id="t", request_id="q", started_ms=1)


def decoded(body: dict[str, Any]) -> RunCreate:
    run: RunCreate = RUN_CREATE.decode(msgspec.json.encode({"assistant_id": "a", **body}))
    return run


def layered(
    body: dict[str, Any], config: Any = None, context: Any = None, *, temporary: bool = False
) -> dict[str, Any]:
    run = submission.valid_run(decoded(body), submission.PLAIN, stateless=False)
    result = submission.layered(run, Assistant("a", "g", config or {}, context or {}, {}), SERVER, temporary=temporary)
    return {
        **msgspec.json.decode(result.kwargs),
        "thread_config": result.thread_config,
        "run_metadata": result.metadata,
    }


def test_context_and_configurable_mirror_each_other() -> None:
    assert mirrored({}, {"a": 1}) == ({"configurable": {"a": 1}}, {"a": 1})
    assert mirrored({"configurable": {"a": 1}, "tags": ["t"]}, {}) == (
        {"configurable": {"a": 1}, "tags": ["t"]},
        {"a": 1},
    )
    assert mirrored({"tags": ["t"]}, {}) == ({"tags": ["t"]}, {})
    with pytest.raises(ApiError) as refused:
        mirrored({"configurable": {"a": 1}}, {"b": 1})
    assert refused.value.status == 400


def test_no_client_sets_keys_that_langgraph_and_langlog_keep_for_themselves() -> None:
    reserved = {
        "__pregel_checkpointer": 1,
        "__pregel_send": {},
        "__pregel_resuming": "yes",
        "__pregel_resume_map": 1,
        "__langlog_x": 1,
        "__langlog": 1,
    }
    remote = {"__pregel_resuming": True, "__pregel_resume_map": {"id": "yes"}}  # what langgraph's RemoteGraph sends
    assert mirrored({"configurable": remote}, {})[1] == remote
    kept = {"checkpoint_id": "c", "checkpoint_ns": "", "thread_id": "mine", "__mine": 1, "pregel": 2}
    assert mirrored({"configurable": {**reserved, **kept}}, {}) == ({"configurable": kept}, kept)
    assert mirrored({}, {**reserved, "a": 1})[0] == {"configurable": {"a": 1}}
    for body, config, context in (
        ({"config": {"configurable": {**reserved, "__mine": 1}}}, {}, {}),
        ({"context": {**reserved, "__mine": 1}}, {}, {}),
        ({}, {"configurable": {**reserved, "__mine": 1}}, {}),
    ):
        result = layered(body, config, context)
        assert not reserved.keys() & result["config"]["configurable"].keys()
        assert not reserved.keys() & result["thread_config"]["configurable"].keys()
        assert result["config"]["configurable"]["__mine"] == 1


def test_a_runs_keys_win_and_its_tags_replace() -> None:
    assistant = {"configurable": {"style": "loud", "suffix": "#"}, "tags": ["at"], "recursion_limit": 5}
    result = layered(
        {"context": {"suffix": "$"}, "config": {"tags": ["rt"]}}, assistant, {"style": "loud", "suffix": "#"}
    )
    assert result["context"] == {"style": "loud", "suffix": "$"}
    assert result["config"]["tags"] == ["rt"]
    assert result["config"]["recursion_limit"] == 5
    assert result["config"]["configurable"]["style"] == "loud"
    assert result["config"]["configurable"]["suffix"] == "$"
    assert result["thread_config"] == {
        "configurable": {"style": "loud", "suffix": "$"},
        "tags": ["rt"],
        "recursion_limit": 5,
    }


@pytest.mark.parametrize(
    ("body", "config", "shown"),
    [
        ({"config": {"configurable": {"user_id": "u1"}}}, {}, "u1"),
        ({"context": {"user_id": "u1"}}, {}, "u1"),
        ({}, {"configurable": {"user_id": "u2"}}, "u2"),
        ({"config": {"configurable": {"user_id": "u1"}}}, {"configurable": {"user_id": "u2"}}, "u1"),
        ({}, {}, ""),
    ],
)
def test_without_an_authenticated_user_the_callers_user_id_stays(
    body: dict[str, Any], config: dict[str, Any], shown: str
) -> None:
    assert layered(body, config)["config"]["configurable"]["user_id"] == shown


def test_the_authenticated_user_wins_over_a_user_id_that_a_client_sends() -> None:
    body = {"config": {"configurable": {"user_id": "somebody else"}}}
    run = submission.valid_run(decoded(body), submission.PLAIN, stateless=False)
    server = SERVER._replace(user={"identity": "alice"}, user_id="alice")
    result = submission.layered(run, Assistant("a", "g", {"configurable": {"user_id": "u2"}}, {}, {}), server)
    assert msgspec.json.decode(result.kwargs)["config"]["configurable"]["user_id"] == "alice"


@pytest.mark.parametrize(
    "config",
    [
        {"max_concurrency": "2"},
        {"max_concurrency": 0},
        {"max_concurrency": True},
        {"run_name": 3},
        {"recursion_limit": None},
    ],
)
def test_a_config_member_of_another_type_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        layered({"config": config})
    assert refused.value.status == 422


@pytest.mark.parametrize(
    "command",
    [
        {"goto": 3},
        {"goto": True},
        {"goto": {"input": {}}},
        {"goto": {"node": 3}},
        {"goto": ["a", 3]},
        {"goto": ["a", {"input": {}}]},
        {"goto": ["a"] * 1_001},
        {"update": 3},
        {"update": "a"},
        {"resume": 1, "goto": [["a"]]},
    ],
)
def test_a_command_of_another_shape_is_refused(command: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        layered({"command": command})
    assert refused.value.status == 422
    assert "command" in refused.value.detail


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"resume": None},
        {"resume": [1, {"a": "b"}]},
        {"goto": None, "update": None},
        {"goto": "a", "update": {"b": 1}},
        {"goto": {"node": "a", "input": 3}, "update": [["b", 1]]},
        {"goto": {"node": "a"}},
        {"goto": ["a", {"node": "b", "input": None}], "of a later version": 1},
        {"goto": []},
    ],
)
def test_a_command_is_kept_as_it_was_given(command: dict[str, Any]) -> None:
    assert layered({"command": command})["command"] == command


@pytest.mark.parametrize(
    ("body", "durability", "during"),
    [
        ({}, "async", True),
        ({"durability": "exit"}, "exit", False),
        ({"durability": "sync"}, "sync", True),
        ({"checkpoint_during": False}, "exit", False),
        ({"checkpoint_during": True}, "async", True),
        ({"checkpoint_during": False, "durability": "async"}, "async", False),
        ({"checkpoint_during": True, "durability": "exit"}, "exit", True),
    ],
)
def test_durability_wins_over_checkpoint_during_which_is_shown_as_given(
    body: dict[str, Any], durability: str, during: bool
) -> None:
    result = layered(body)
    assert (result["durability"], result["checkpoint_during"]) == (durability, during)


def test_stream_modes_are_always_a_list() -> None:
    assert layered({})["stream_mode"] == ["values"]
    assert layered({"stream_mode": []})["stream_mode"] == ["values"]
    assert layered({"stream_mode": "custom"})["stream_mode"] == ["custom"]


def batch(
    first: int, last: int, *, attempt: int = 1, event: str = "values", resumable: bool = False, ms: int = 1000
) -> Batch:
    frames = [Frame(n, ms + n, n, event, b"%d" % n) for n in range(first, last + 1)]
    return Batch(FrameBatch("r", attempt, frames, resumable))


def of_second(first: int, last: int) -> Batch:
    """Return frames of a second attempt, from 2 s on."""
    frames = [Frame(n, 2000 + n, ATTEMPT_SPAN + n, "values", b"%d" % n) for n in range(first, last + 1)]
    return Batch(FrameBatch("r", 2, frames, resumable=True))


def sequencer(after: tuple[int, int] | None = START) -> FrameSequencer:
    """Return a sequencer whose backlog is not queried."""
    return FrameSequencer(cast(Any, None), "t", "r", recorded=False, after=after)


def test_backlog_and_live_frames_come_without_gap_or_duplicate() -> None:
    frames = sequencer()
    assert not frames.gap_before(batch(1, 2))
    assert frames.gap_before(batch(2, 3))
    new = frames.accept(batch(1, 3))
    assert new is not None and new.after == 0
    assert frames.accept(batch(2, 3)) is None
    new = frames.accept(batch(3, 5))
    assert new is not None and [frame.sequence for frame in new.frames] == [4, 5]
    assert frames.gap_before(batch(7, 7))
    assert frames.reached((1, 5)) and not frames.reached((1, 6))


class Behind:
    """A backlog that Redis has lost a frame of, and whose recorded frames the read model holds once somebody waits for it."""

    def __init__(self) -> None:
        self.folded = False

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        return [batch(1, 2), batch(3, 3), batch(4, 4)] if self.folded else [batch(1, 2), batch(4, 4)]

    async def caught_up(self, thread_id: str) -> None:
        self.folded = True


async def test_a_recorded_frame_is_waited_for_while_the_read_model_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer_module, "GAP_PAUSES_S", (0.0,))
    frames = FrameSequencer(cast(Any, Behind()), "t", "r", recorded=True, after=START)
    frames.accept(batch(1, 2))
    slices = await frames.take([batch(4, 4)])
    assert [(new.batch.first, new.missing) for new in slices] == [(3, 0), (4, 0)]


def test_frames_of_an_older_attempt_are_dropped() -> None:
    frames = sequencer()
    frames.accept(batch(1, 5))
    assert not frames.gap_before(batch(1, 1, attempt=2))
    assert frames.accept(batch(1, 1, attempt=2)) is not None
    assert frames.accept(batch(6, 6)) is None
    assert (frames.attempt, frames.sequence) == (2, 1)
    assert frames.reached((1, 9))


class Kept:
    """A backlog of a lost attempt whose worker went on for a while after the next one had begun, and of that one."""

    BATCHES = (batch(1, 3), batch(4, 5, ms=9000), batch(1, 4, attempt=2, ms=2000))

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        return list(self.BATCHES)


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ((-1, 0), [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4)]),
        ((1002, 2), [(1, 3), (2, 1), (2, 2), (2, 3), (2, 4)]),
        ((2002, 2), [(2, 3), (2, 4)]),
        ((9004, 4), [(2, 1), (2, 2), (2, 3), (2, 4)]),  # it was live when nobody knew better
        ((1500, 0), [(2, 1), (2, 2), (2, 3), (2, 4)]),  # of another stream
    ],
)
async def test_a_stream_goes_on_from_its_frame_although_a_lost_worker_published_later_ones(
    known: tuple[int, int], shown: list[tuple[int, int]]
) -> None:
    frames = FrameSequencer(cast(Any, Kept()), "t", "r", recorded=True, known=known)
    slices = await frames.fill()
    assert [(new.batch.attempt, frame.sequence) for new in slices for frame in new.frames] == shown


class Forgotten:
    """A backlog without the last frames of a lost attempt: the log does not count them, and Redis was wiped."""

    BATCHES = (batch(1, 3), of_second(1, 4))

    async def of_run(self, thread_id: str, run_id: str, **_: Any) -> list[Batch]:
        return list(self.BATCHES)


@pytest.mark.parametrize(
    ("known", "attempts", "shown"),
    [
        ((9004, 4), 2, [(2, 1), (2, 2), (2, 3), (2, 4)]),  # a later one of the lost attempt
        ((2000, ATTEMPT_SPAN + 2), 2, [(2, 1), (2, 2), (2, 3), (2, 4)]),
        ((2002, ATTEMPT_SPAN + 7), 2, [(2, 3), (2, 4)]),
        ((9004, 4), 0, []),  # of whichever run of the thread
    ],
)
async def test_a_stream_goes_on_with_the_attempt_of_a_frame_that_nobody_has_any_more(
    known: tuple[int, int], attempts: int, shown: list[tuple[int, int]]
) -> None:
    frames = FrameSequencer(cast(Any, Forgotten()), "t", "r", recorded=True, known=known, attempts=attempts)
    slices = await frames.fill()
    assert [(new.batch.attempt, frame.sequence) for new in slices for frame in new.frames] == shown


async def test_an_id_of_another_run_with_more_attempts_does_not_hide_a_run() -> None:
    """The stream of a thread has the same ids, of all its runs."""

    class First(Forgotten):
        BATCHES = (batch(1, 3),)

    earlier = (1000, ATTEMPT_SPAN + 4)
    frames = FrameSequencer(cast(Any, First()), "t", "r", recorded=True, known=earlier, attempts=1)
    assert [frame.sequence for new in await frames.fill() for frame in new.frames] == [1, 2, 3]


def test_a_sequencer_without_a_position_begins_with_any_frame() -> None:
    frames = sequencer(None)
    assert not frames.gap_before(batch(7, 8))
    assert frames.accept(batch(7, 8)) is not None
    assert frames.gap_before(batch(10, 10))


def test_a_backlog_with_a_hole_is_not_complete() -> None:
    assert is_complete([batch(1, 2), batch(2, 5), batch(1, 3, attempt=2)])
    assert not is_complete([])
    assert not is_complete([batch(2, 5)])
    assert not is_complete([batch(1, 2), batch(4, 5)])
    assert not is_complete([batch(1, 3, attempt=2)]), "the frames of the first attempt are missing"
    assert is_complete([batch(1, 2)], (1, 2)) and not is_complete([batch(1, 2)], (1, 3))


def test_frames_are_encoded_as_the_contract_has_them() -> None:
    assert batch(1, 2).encoded() == b"event: values\ndata: 1\n\nevent: values\ndata: 2\n\n"
    assert batch(1, 2, resumable=True).encoded(1) == b"event: values\ndata: 2\nid: 1002-2\n\n"
    one = batch(1, 3)
    assert one.encoded() is one.encoded(0)


def test_modes_filter_by_the_name_before_the_namespace() -> None:
    modes = sse.modes_of(["messages-tuple,updates", ""])
    assert modes == {"messages", "updates"}
    assert sse.modes_of([""]) is None
    shown = [n for n in ("messages", "messages/partial", "updates|a:1", "values", "error") if sse.matches(n, modes)]
    assert shown == ["messages", "messages/partial", "updates|a:1", "error"]


def refusal(body: bytes, decoder: msgspec.json.Decoder[Any]) -> str:
    with pytest.raises(ApiError) as refused:
        validation.decode_body(body, decoder)
    assert refused.value.status == 422
    return refused.value.detail


def test_violations_are_reported_in_the_validators_form() -> None:
    search = ASSISTANT_SEARCH
    assert refusal(b'{"limit": 0}', search) == (
        '0 is less than the minimum of 1\n\nFailed validating "minimum" in schema["properties"]["limit"]\n\n'
        'On instance["limit"]:\n    0'
    )
    assert refusal(b'{"limit": "5"}', search).startswith('"5" is not of type "integer"\n\n')
    assert refusal(b"{}", THREAD_PRUNE) == (
        '"thread_ids" is a required property\n\nFailed validating "required" in schema\n\nOn instance:\n    {}'
    )
    assert refusal(b'[{"assistant_id": "a"}, {}]', RUN_BATCH) == (
        '"assistant_id" is a required property\n\nFailed validating "required" in schema["items"]\n\nOn instance[1]:\n    {}'
    )
    assert refusal(b'[{"assistant_id": "a", "multitask_strategy": "x"}]', RUN_BATCH).startswith(
        '"x" is not one of "reject", "interrupt" or 2 other candidates\n\n'
    )
    assert refusal(b"[]", RUN_BATCH) == (
        '[] has less than 1 item\n\nFailed validating "minItems" in schema\n\nOn instance:\n    []'
    )
    assert refusal(b'{"namespace":["a"],"key":"k","value":{},"ttl":"x"}', STORE_PUT).startswith(
        '"x" is not of types "null", "number"\n\n'
    )
    assert refusal(b'{"values": "x"}', STATE_UPDATE).startswith(f'"x" {validation.NO_SCHEMA}\n\n')
    assert refusal(b'{"sort_by": "zzz"}', search).startswith('"zzz" is not one of ')
    assert refusal(b"nope", search) == validation.BAD_JSON
    assert refusal(b'{"metadata": {"a\\u0000": 1}}', search) == validation.NUL_INSIDE


@pytest.mark.parametrize(
    ("decoder", "member", "kind"),
    [
        (ASSISTANT_SEARCH, b"graph_id", "string"),
        (ASSISTANT_COUNT, b"name", "string"),
        (ASSISTANT_LATEST, b"version", "integer"),
        (STORE_SEARCH, b"limit", "integer"),
        (THREAD_SEARCH, b"status", "string"),
        (THREAD_COUNT, b"status", "string"),
    ],
)
def test_a_member_that_may_be_left_out_is_not_null(
    decoder: msgspec.json.Decoder[Any], member: bytes, kind: str
) -> None:
    assert refusal(b'{"%b": null}' % member, decoder).startswith(f'null is not of type "{kind}"\n\n')
    decoder.decode(b"{}")


@pytest.mark.parametrize("number", [b"1e400", b"-1E+309", b"9" * 400 + b".0"])
def test_a_number_that_no_float_holds_is_refused_wherever_it_is(number: bytes) -> None:
    for member in (b'"input":{"n":%s}', b'"command":{"resume":%s}', b'"metadata":{"n":%s}'):
        body = b'{"assistant_id":"a",' + member % number + b"}"
        assert refusal(body, RUN_CREATE) == validation.BAD_JSON
    fine = b'{"assistant_id":"e400","input":{"n":[1e300,1e-400,"1e400",%s]}}' % (b"9" * 400)
    assert bytes(validation.decode_body(fine, RUN_CREATE).input).startswith(b'{"n":[1e300')


def test_extract_paths_become_columns_and_steps() -> None:
    assert extractions({"a": "values.log[-1].x", "b": "interrupts", "c": "metadata.k"}) == [
        ("a", "state_values", ["log", "-1", "x"]),
        ("b", "interrupts", []),
        ("c", "metadata", ["k"]),
    ]
    for wrong in ("zzz.a", "values..a", "values[x]", "values[1"):
        with pytest.raises(ApiError):
            extractions({"a": wrong})


def test_portions_of_a_copy_keep_to_the_limit() -> None:
    assert list(thread_copy.parts([b"aaa", b"bb", b"cccc", b"dddddddd", b"e"], 5)) == [
        [b"aaa", b"bb"],
        [b"cccc"],
        [b"dddddddd"],
        [b"e"],
    ]


async def test_latencies_fall_into_growing_buckets() -> None:
    metrics = Metrics()
    metrics.count("GET", "/x", 200, 0.007)
    metrics.count("GET", "/x", 200, 100.0)
    text = rendered(await metrics.collect()).decode()
    labels = 'method="GET",path="/x",status="200"'
    assert f'lg_api_http_requests_latency_bucket{{le="0.005",{labels}}} 0\n' in text
    assert f'lg_api_http_requests_latency_bucket{{le="0.01",{labels}}} 1\n' in text
    assert f'lg_api_http_requests_latency_bucket{{le="+Inf",{labels}}} 2\n' in text
    assert f"lg_api_http_requests_latency_count{{{labels}}} 2\n" in text


@pytest.mark.parametrize(
    ("decoder", "body", "hint"),
    [
        (
            THREAD_CREATE,
            b'{"if_exists": "zzz"}',
            '"zzz" is not one of "raise" or "do_nothing"\n\nFailed validating "enum" in schema["properties"]["if_exists"]'
            '\n\nOn instance["if_exists"]:\n    "zzz"',
        ),
        (CANCEL_MANY, b'{"status": "zz"}', '"zz" is not one of "pending", "running" or "all"\n'),
        (THREAD_COUNT, b'{"status": "zz"}', '"zz" is not one of "idle", "busy" or 2 other candidates\n'),
        (
            THREAD_SEARCH,
            b'{"select": ["values", "zzz"]}',
            '"zzz" is not one of "thread_id", "created_at" or 9 other candidates\n\n'
            'Failed validating "enum" in schema["properties"]["select"]["items"]\n\nOn instance["select"][1]:\n    "zzz"',
        ),
        (
            RUN_CREATE,
            b'{"assistant_id": "a", "stream_mode": "zz"}',
            "\"zz\" is not valid under any of the schemas listed in the 'anyOf' keyword\n\n"
            'Failed validating "anyOf" in schema["properties"]["stream_mode"]',
        ),
        (
            RUN_BATCH,
            b'[{"assistant_id": "a", "durability": "zz"}]',
            '"zz" is not one of "sync", "async" or "exit"\n\n',
        ),
    ],
)
def test_a_value_that_is_no_choice_is_told_what_there_is(decoder: Any, body: bytes, hint: str) -> None:
    with pytest.raises(ApiError) as refused:
        validation.decode_body(body, decoder)
    assert refused.value.status == 422
    assert str(refused.value.detail).startswith(hint)


def test_runs_that_are_switched_off_are_so_by_every_protocol() -> None:
    off = HttpOptions(disable_runs=True)
    of_runs = (
        "/runs",
        "/runs/crons/{cron_id}",
        "/threads/{thread_id}/runs/wait",
        "/threads/{thread_id}/commands",
        "/threads/{thread_id}/stream/events",
        "/mcp",
        "/a2a/{assistant_id}",
        "/.well-known/agent-card.json",
    )
    assert [path for path in of_runs if not off.disabled(path)] == []
    assert not off.disabled("/threads/{thread_id}/state") and not off.disabled("/assistants/search")
    assert [path for path in of_runs if HttpOptions(disable_threads=True).disabled(path)] == [
        path for path in of_runs if path.startswith(("/threads", "/a2a", "/.well-known"))
    ]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (ApiError(422, "why").response(), "why"),
        (KeyedError(400, "why").response(), "why"),
        (PlainError(422, "why").response(), "why"),
        (ApiError(503, "away").response(), ""),
        (web.Response(body=b'{"detail":"fine"}', content_type="application/json"), ""),
        (web.Response(status=400, body=b'{"detail":"' + b"x" * 100_000 + b'"}', content_type="application/json"), ""),
        (web.Response(status=400, body=b'{"detail":[1]}', content_type="application/json"), ""),
        (web.Response(status=404), ""),
        (web.StreamResponse(status=404), ""),
    ],
)
def test_a_refusal_says_its_reason(response: web.StreamResponse, reason: str) -> None:
    assert reason_of(response) == reason
