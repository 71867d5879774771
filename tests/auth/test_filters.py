"""A filter means the same in SQL and to a decider; results of authorization handlers, and arguments of authenticate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph_sdk import Auth
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.imports import load_object
from langlog_gateway.auth.custom_auth import CustomAuth, user_of
from langlog_gateway.auth.visibility import Parameters, conditions
from langlog_gateway.http.errors import ApiError
from langlog_schemas.rules.filters import FilterError, admits

keys = st.sampled_from(["owner", "team", "k"])
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["alice", "bob", ""]))
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.dictionaries(keys, scalars, max_size=2))
metadata = st.dictionaries(keys, values, max_size=3)
terms = st.one_of(
    values,
    st.builds(lambda v: {"$eq": v}, values),
    st.builds(lambda v: {"$contains": v}, scalars),
    st.builds(lambda v: {"$contains": v}, st.lists(scalars, max_size=2)),
)
plain = st.dictionaries(keys, terms, min_size=1, max_size=2)
groups = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(lambda each: {"$or": each}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda each: {"$and": each}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=4,
)


@pytest.fixture
def connection(postgres: EmbeddedPostgres) -> Iterator[tuple[asyncio.Runner, Any]]:
    with asyncio.Runner() as runner:
        connected = runner.run(asyncpg.connect(postgres.uri))
        yield runner, connected
        runner.run(connected.close())


def test_sql_and_deciders_agree_on_every_filter(connection: tuple[asyncio.Runner, Any]) -> None:
    runner, postgres = connection

    @settings(max_examples=300, deadline=None)
    @given(
        wanted=st.one_of(plain, plain.flatmap(lambda more: groups.map(lambda group: {**more, **group}))),
        metadata_seen=metadata,
    )
    def agree(wanted: dict[str, Any], metadata_seen: dict[str, Any]) -> None:
        parameters = Parameters(msgspec.json.encode(metadata_seen).decode())
        sql = f"SELECT {' AND '.join(conditions(wanted, parameters, 'm'))} FROM (SELECT $1::jsonb AS m) x"
        assert bool(runner.run(postgres.fetchval(sql, *parameters.values))) == admits(wanted, metadata_seen)

    agree()


def test_a_filter_that_means_nothing_lets_nobody_in() -> None:
    deep: dict[str, Any] = {"owner": "a"}
    for _ in range(20):
        deep = {"$or": [deep]}
    for wanted in (
        {"k": {"$near": 1}},
        {"$or": {"owner": "a"}},
        {"$or": []},
        {"$or": [{"k": {"$near": 1}}]},
        {"$and": ["a"]},
        {"$not": [{"owner": "a"}]},
        deep,
    ):
        with pytest.raises(FilterError):
            admits(wanted, {"k": 1, "owner": "a"})
        with pytest.raises(FilterError):
            conditions(wanted, Parameters())


@pytest.mark.parametrize("none", [[], (), set()])
@pytest.mark.parametrize("grouped", [False, True])
async def test_a_list_of_no_members_that_objects_must_have_lets_nobody_in(none: Any, grouped: bool) -> None:
    auth = authenticated()

    @auth.on
    async def handler(ctx: Any, value: Any) -> Any:
        wanted = {"teams": {"$contains": none}}
        return {"$or": [{"owner": "alice"}, {"$and": [wanted]}]} if grouped else wanted

    gate = CustomAuth(auth, None)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="a list that is not empty"):
        await gate.authorize(user_of("alice"), "threads", "read", {})


async def refused(auth: Auth, resource: Any = "threads", action: Any = "read") -> ApiError:
    gate = CustomAuth(auth, None)  # type: ignore[arg-type]
    with pytest.raises(ApiError) as caught:
        await gate.authorize(user_of("alice"), resource, action, {})
    return caught.value


def authenticated() -> Auth:
    auth = Auth()

    @auth.authenticate
    async def authenticate(authorization: str | None) -> str:
        return authorization or ""

    return auth


async def test_the_most_specific_handler_is_asked() -> None:
    auth = authenticated()

    def named(name: str) -> Any:
        async def handler(ctx: Any, value: Any) -> Any:
            return {"by": name}

        return handler

    auth.on(named("all"))
    auth.on.threads(named("threads"))
    auth.on.threads.create(named("threads.create"))
    auth.on(actions=["read"])(named("read"))  # type: ignore[call-overload]
    gate = CustomAuth(auth, None)  # type: ignore[arg-type]

    async def asked(resource: Any, action: Any) -> Any:
        answer = await gate.authorize(user_of("a"), resource, action, {})
        return answer and answer["by"]

    assert await asked("threads", "create") == "threads.create"
    assert await asked("threads", "read") == "threads"
    assert await asked("assistants", "read") == "read"
    assert await asked("assistants", "create") == "all"
    assert await CustomAuth(authenticated(), None).authorize(user_of("a"), "threads", "read", {}) is None  # type: ignore[arg-type]


async def test_false_is_403_and_an_exception_of_the_handler_has_its_own_status() -> None:
    auth = authenticated()

    @auth.on.threads.read
    async def read(ctx: Any, value: Any) -> bool:
        return False

    @auth.on.threads.create
    async def create(ctx: Any, value: Any) -> None:
        raise Auth.exceptions.HTTPException(status_code=418, detail="no")

    forbidden, own = await refused(auth), await refused(auth, action="create")
    assert (forbidden.status, forbidden.detail) == (403, "Forbidden")
    assert (own.status, own.detail) == (418, "no")


def test_a_user_may_be_a_string_a_mapping_or_an_object() -> None:
    class Someone:
        identity = "carol"
        permissions = ("read",)

        def __init__(self) -> None:
            self.team = "blue"

    assert user_of("alice")["display_name"] == "alice"
    assert user_of({"identity": "bob", "permissions": None})["permissions"] == []
    assert user_of(Someone()) == {
        "identity": "carol",
        "permissions": ["read"],
        "team": "blue",
        "is_authenticated": True,
        "display_name": "carol",
    }
    with pytest.raises(ApiError):
        user_of(None)
    with pytest.raises(TypeError):
        user_of(3)


@pytest.mark.parametrize(
    "user",
    [
        "n" * 1_001,
        "\N{SNOWMAN}" * 400,
        "\udcff",
        "a\0b",
        {"identity": "alice", "display_name": "\udcff"},
        {"identity": "alice", "permissions": ["a\0"]},
    ],
)
def test_a_user_that_cannot_be_stored_is_refused(user: Any) -> None:
    """Postgres has no room for it in an index, or no way to write it: the records that name it would be parked."""
    with pytest.raises(ApiError) as refused:
        user_of(user)
    assert refused.value.status == 401
    assert user_of("n" * 1_000)["identity"] == "n" * 1_000


def test_a_gateway_does_not_come_up_without_its_authentication(tmp_path: Path) -> None:
    project = Project(file=tmp_path / "langgraph.json", graphs={}, config={})
    (tmp_path / "broken.py").write_text("raise ValueError('no')")
    for reference in ("./missing.py:auth", "./broken.py:auth", "no_such_module:auth", "auth", 3):
        with pytest.raises(StartError):
            load_object(project, "auth.path", reference)
    with pytest.raises(StartError, match="authenticate"):
        CustomAuth(Auth(), None)  # type: ignore[arg-type]
    odd = Auth()

    @odd.authenticate
    async def authenticate(password: str) -> str:
        return password

    with pytest.raises(StartError, match="password"):
        CustomAuth(odd, None)  # type: ignore[arg-type]


def test_resources_that_no_handler_covers_are_named() -> None:
    auth = authenticated()
    assert list(CustomAuth(auth, None).uncovered()) == ["assistants", "crons", "store", "threads"]  # type: ignore[arg-type]

    @auth.on.threads
    async def threads(ctx: Any, value: Any) -> None: ...

    @auth.on.store
    async def store(ctx: Any, value: Any) -> None: ...

    @auth.on.crons.create
    async def crons(ctx: Any, value: Any) -> None: ...

    assert list(CustomAuth(auth, None).uncovered()) == ["assistants", "crons"]  # type: ignore[arg-type]

    @auth.on
    async def rest(ctx: Any, value: Any) -> None: ...

    assert list(CustomAuth(auth, None).uncovered()) == []  # type: ignore[arg-type]
