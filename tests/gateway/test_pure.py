"""The parts that touch nothing: layering, merging, encoding, validation, filters."""

from __future__ import annotations

from typing import Any

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
from langlog_gateway.threads import splitting
from langlog_gateway.threads.search import extractions
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


def test_an_integer_of_json_schema_is_one_however_it_is_written() -> None:
    body = b'{"limit": 10.0, "offset": 2e1, "metadata": {"size": 1.0}, "values": {"a": [1.50, 2.0]}}'
    search = validation.decode_body(body, THREAD_SEARCH)
    assert (search.limit, search.offset) == (10, 20)
    assert msgspec.json.encode([search.metadata, search.values]) == b'[{"size":1.0},{"a":[1.5,2.0]}]'
    assert validation.decode_body(b'{"version": 2.0}', ASSISTANT_LATEST).version == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.5", '1.5 is not of type "integer"'),
        ("1e30", "1000000000000000019884624838656 is greater than the maximum of 1000"),
        ("0.0", "0 is less than the minimum of 1"),
        ('"10"', '"10" is not of type "integer"'),
        ("true", 'true is not of type "integer"'),
        ('10.0, "metadata": ' + "[" * 40_000 + "]" * 40_000, validation.BAD_JSON),
        ('10.0, "metadata": {"a": 1e999}', validation.BAD_JSON),
        ('10.0, "metadata": {"a": "\\u0000"}', validation.NUL_INSIDE),
    ],
)
def test_another_number_than_an_integer_is_refused(text: str, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        validation.decode_body(f'{{"limit": {text}}}'.encode(), THREAD_SEARCH)
    assert refused.value.detail.startswith(message)


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
    assert list(splitting.parts([b"aaa", b"bb", b"cccc", b"dddddddd", b"e"], 5)) == [
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


STREAM_MODES = (
    '"values", "updates", "messages", "messages-tuple", "tasks", "checkpoints", "events", "debug", "custom" or "tools"'
)
"""A client that names another mode learns which there are."""


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
            f'"zz" is not one of {STREAM_MODES}\n\nFailed validating "enum" in schema["properties"]["stream_mode"]',
        ),
        (
            RUN_CREATE,
            b'{"assistant_id": "a", "stream_mode": ["values", "lifecycle"]}',
            f'"lifecycle" is not one of {STREAM_MODES}\n\n'
            'Failed validating "enum" in schema["properties"]["stream_mode"]["items"]\n\nOn instance["stream_mode"][1]:',
        ),
        (
            RUN_CREATE,
            b'{"assistant_id": "a", "interrupt_before": "zz"}',
            "\"zz\" is not valid under any of the schemas listed in the 'anyOf' keyword\n\n"
            'Failed validating "anyOf" in schema["properties"]["interrupt_before"]',
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
        (web.Response(status=400, body=b'{"detail":[1]}', content_type="application/json"), "[1]"),
        (web.Response(status=400, body=b'{"detail":[1', content_type="application/json"), ""),
        (web.Response(status=404), ""),
        (web.StreamResponse(status=404), ""),
    ],
)
def test_a_refusal_says_its_reason(response: web.StreamResponse, reason: str) -> None:
    assert reason_of(response) == reason
