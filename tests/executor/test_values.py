"""Values as JSON: what views show, the same for all of them, and what the store refuses by name."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import itertools
import logging
import re
import sys
import threading
import traceback
import uuid
from collections import UserDict, UserList, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import attrs
import msgspec
import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.pregel import debug
from langgraph.store.base import Item
from langgraph.types import Interrupt, RetryPolicy, Send
from langlog_executor.checkpoints.serde import project_serializer
from langlog_executor.frames import interrupt_copies
from langlog_executor.values import encoding, error_text, expansion, retried_errors
from langlog_executor.values.storable import NotStorable, storable
from pydantic import BaseModel, SecretBytes, SecretStr

ODD = object()


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    n: int = 1
    model_config = {"arbitrary_types_allowed": True}
    extra: Any = None


@dataclass
class Point:
    x: Any = 1


class Frame:
    """A table, as code that only inspects its methods sees it: an iterable of its columns' names."""

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "b"])

    def __len__(self) -> int:
        return 2


PandasFrame = type("DataFrame", (Frame,), {"__module__": "pandas.core.frame"})

KEYS: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (1, "1"),
    (1.5, "1.5"),
    (Colour.RED, "red"),
    (datetime.date(2020, 1, 2), "2020-01-02"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (decimal.Decimal("1.50"), "1.50"),
    (b"a", "YQ=="),
    ("a\0b", "ab"),
]
VALUES: list[tuple[Any, Any]] = [
    (decimal.Decimal("1.50"), "1.50"),
    (datetime.datetime(2020, 1, 2), "2020-01-02T00:00:00"),
    (datetime.timedelta(days=1), "P1D"),
    (b"a", "YQ=="),
    (Colour.RED, "red"),
    (Path("a/b"), "a/b"),
    (deque([1, 2]), [1, 2]),
    ({1: 2}.items(), [[1, 2]]),
    (range(2), [0, 1]),
    (Point(Model()), {"x": {"n": 1, "extra": None}}),
    ({"a": (1, {2})}, {"a": [1, [2]]}),
]


@pytest.mark.parametrize(("key", "shown"), KEYS)
def test_a_key_is_shown_the_same_whatever_else_is_in_the_value(key: Any, shown: str) -> None:
    for beside in ({}, {"odd": "\ud800"}, {"odd": {(1, 2): 3}}):  # the last two are encoded by a walk
        assert msgspec.json.decode(encoding.encode({"v": {key: 1}, **beside}))["v"] == {shown: 1}
    if "\0" not in str(key):
        assert msgspec.json.decode(storable({"v": {key: 1}})) == {"v": {shown: 1}}
        assert msgspec.json.decode(storable({"v": {key: 1}, "odd": "\ud800"}))["v"] == {shown: 1}


@pytest.mark.parametrize(("value", "shown"), VALUES)
def test_a_value_is_shown_and_stored_the_same_whatever_else_is_there(value: Any, shown: Any) -> None:
    for encode in (encoding.encode, storable):
        for beside in ({}, {"odd": "\ud800"}, {None: 1}):
            assert msgspec.json.decode(encode({"v": value, **beside}))["v"] == shown


def test_no_view_shows_a_nul_and_text_that_spells_one_stays() -> None:
    for text, shown in (("a\0b", "ab"), ("\\u0000", "\\u0000"), ("\\\0", "\\"), ("\\\\u0000\0", "\\\\u0000")):
        for beside in ({}, {"odd": "\ud800"}):
            assert msgspec.json.decode(encoding.encode({"v": text, **beside}))["v"] == shown


def test_a_message_is_stored_as_it_is_shown() -> None:
    value = {"messages": [HumanMessage("hi", id="1")]}
    assert storable(value) == encoding.encode(value)


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE
DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ({"a": ODD}, "value['a']", "builtins.object"),
        ({"a": [1, {"b": ODD}]}, "value['a'][1]['b']", "builtins.object"),
        ({"p": Point(ODD)}, "value['p'].x", "builtins.object"),
        ({"m": Model(extra=ODD)}, "value['m']['extra']", "builtins.object"),
        ({"f": Frame()}, "value['f']", "Frame"),
        ({"f": [PandasFrame()]}, "value['f'][0]", "pandas.core.frame.DataFrame"),
        ({"f": len}, "value['f']", "builtin_function_or_method"),
        ({"f": functools.partial(len)}, "value['f']", "functools.partial"),
        ({"f": threading.Lock()}, "value['f']", "lock"),
        ({"f": (n for n in range(2))}, "value['f']", "builtins.generator"),
        ({"f": Model}, "value['f']", "Model"),
        ({"e": ValueError("no")}, "value['e']", "builtins.ValueError"),
        ({"k": {(1, 2): 3}}, "value['k']", "builtins.tuple"),
        ({"k": {ODD: 3}}, "value['k']", "builtins.object"),
        ({"c": CYCLE}, "value['c']['self']", "contains itself"),
        ({"d": DEEP, "odd": "\ud800"}, "value['d'][0][0]", "levels deep"),
        ({"i": 1 << 2000, "odd": "\ud800"}, "value['i']", "1000 bits"),
        ({1: ODD, "odd": "\ud800"}, "value[1]", "builtins.object"),
        ({"s": [SecretStr("hush")]}, "value['s'][0]", "get_secret_value()"),
        ({"m": Model(extra=SecretBytes(b"hush"))}, "value['m']['extra']", "pydantic.types.SecretBytes shows a mask"),
    ],
)
def test_what_has_no_json_form_is_named_by_its_path_and_its_class(value: Any, where: str, what: str) -> None:
    with pytest.raises(NotStorable, match=re.escape(f"cannot store {where}")) as refused:
        storable(value)
    assert what in str(refused.value)
    assert getattr(refused.value, "for_clients", False), "clients see the text"
    encoding.encode(value)  # a view shows something for it


def test_numbers_that_json_does_not_have_are_stored_as_they_are_shown() -> None:
    value = {"a": float("nan"), "b": [float("inf")], "c": {1: float("-inf")}}
    assert storable(value) == encoding.encode(value) == b'{"a":null,"b":[null],"c":{"1":null}}'


def test_a_table_is_refused_with_what_to_do() -> None:
    with pytest.raises(NotStorable, match="to_dict"):
        storable({"rows": PandasFrame()})


class Endless:
    """Yields values without end, and has a length, as sequences have."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(1)


class EndlessMapping(Mapping[str, int]):
    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return map(str, itertools.count())

    def __getitem__(self, key: str) -> int:
        return 1


class EndlessList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat("\ud800")


@pytest.mark.parametrize(
    "value",
    [Endless(), EndlessMapping(), EndlessList(["\ud800"]), range(10**15)],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_end_is_shown_in_bounded_memory(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(encoding, "MAX_LISTED", 1_000)
    monkeypatch.setattr(encoding, "MAX_VALUES", 1_000)
    assert len(encoding.encode({"value": value, "other": 1})) < 20_000


def doubled(value: Any, times: int, kind: Any = list) -> Any:
    """Return a value that holds the given one 2 ** times times, in as many objects as that is doubled."""
    for _ in range(times):
        value = kind([value, value])
    return value


class Pair(BaseModel):
    both: Any


class ExtraPair(BaseModel):
    model_config = {"extra": "allow"}


@attrs.define
class AttrsPair:
    both: Any


def of_two(both: list[Any]) -> dict[str, Any]:
    return dict(zip("ab", both, strict=True))


def item(both: list[Any]) -> Item:
    when = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    return Item(value=of_two(both), key="k", namespace=("n",), created_at=when, updated_at=when)


class Array:
    """An array of objects, as code that only inspects its class and its methods sees it."""

    def __init__(self, both: list[Any]) -> None:
        self.both = both
        self.dtype = SimpleNamespace(hasobject=True)

    def ravel(self) -> Array:
        return self

    def tolist(self) -> list[Any]:
        return self.both


NumpyArray = type("ndarray", (Array,), {"__module__": "numpy", "__qualname__": "ndarray"})


@pytest.mark.parametrize(
    "value",
    [
        doubled("x", 40),
        doubled("x", 40, tuple),
        doubled("x", 40, deque),
        doubled(1, 40, of_two),
        doubled(1, 40, lambda both: Point(both)),
        doubled(1, 40, lambda both: Pair(both=both)),
        doubled(1, 40, lambda both: ExtraPair.model_validate({"both": both})),
        doubled(1, 40, lambda both: HumanMessage("hi", additional_kwargs={"both": both})),
        doubled(1, 40, lambda both: Send("node", both)),
        doubled(1, 40, AttrsPair),
        doubled(1, 40, lambda both: MappingProxyType(of_two(both))),
        doubled(1, 40, lambda both: UserDict(of_two(both))),
        doubled(1, 40, UserList),
        doubled(1, 40, lambda both: of_two(both).values()),
        doubled(1, 40, lambda both: ValueError(*both)),
        doubled(1, 40, lambda both: OSError(2, "no such file", both)),
        doubled(1, 40, lambda both: SimpleNamespace(both=both)),
        doubled(1, 40, lambda both: functools.partial(print, *both)),
        doubled(1, 40, item),
        doubled(1, 40, lambda both: next(iter(enum.Enum("E", {"ONE": both})))),
        doubled(1, 40, NumpyArray),
        ["x" * 1_000_000] * 100_000,
        ["x" * 10_000_000] * 900,
        [bytearray(1_000_000)] * 100_000,
        [{"x" * 1_000_000: 1}] * 100_000,
        doubled("x" * 1_000_000, 20),
    ],
    ids=[
        *(
            "list",
            "tuple",
            "deque",
            "dict",
            "dataclass",
            "model",
            "extra",
            "message",
            "send",
            "attrs",
            "proxy",
            "user dict",
        ),
        *(
            "user list",
            "view",
            "exception",
            "file error",
            "namespace",
            "partial",
            "item",
            "enum",
            "array",
            "text",
            "few texts",
            "bytes",
            "keys",
            "doubled text",
        ),
    ],
)
def test_a_value_that_is_too_large_when_written_out_is_refused_in_bounded_time_and_shown_in_part(
    monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    monkeypatch.setattr(expansion, "MEMBERS_MAX", 200_000)
    with pytest.raises(expansion.TooManyMembers, match="keep shared parts once"):
        project_serializer().dumps_typed({"value": value})
    with pytest.raises(NotStorable, match=r"cannot store value: .* keep shared parts once"):
        storable({"value": value})
    shown = encoding.encode({"other": 1, "value": value})
    assert shown.startswith(b'{"other":1,"value":') and len(shown) < 50_000_000


def test_what_an_object_of_another_library_converts_itself_to_is_shown_in_part() -> None:
    shown = encoding.encode({"other": 1, "value": [Array(doubled("x", 40))]})
    assert shown.startswith(b'{"other":1,"value":[[[') and len(shown) < 1_000_000


def refused_by_pydantic() -> BaseException:
    try:
        Refusing.model_validate({"n": doubled("x", 40)})
    except ValueError as error:
        return error
    raise AssertionError


class Refusing(BaseModel):
    n: int


def caused() -> BaseException:
    error = ValueError("outer")
    error.__cause__ = KeyError("between")
    error.__cause__.__context__ = ExceptionGroup("group", [RuntimeError(doubled("x", 40))])
    return error


@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError(doubled("x", 40)),
        lambda: KeyError(doubled("x", 40, tuple)),
        lambda: OSError(2, "no such file", doubled("x", 40)),
        lambda: ExceptionGroup("group", [ValueError(doubled("x", 40)), TypeError()]),
        lambda: type("Own", (Exception,), {"__str__": lambda self: str(self.held)})(),
        refused_by_pydantic,
        caused,
    ],
    ids=["argument", "key", "file", "group", "own", "pydantic", "cause"],
)
def test_an_exception_that_holds_a_value_too_large_to_be_written_out_is_described_in_bounded_time(make: Any) -> None:
    error = make()
    if type(error).__name__ == "Own":
        error.held = doubled("x", 40)
    large = expansion.expands(error)
    assert large or error.__cause__ is not None
    described = error_text.described(error)
    assert described.error == type(error).__name__
    assert described.message == (error_text.TOO_LARGE if large else "outer")
    text = error_text.traceback_of(error)
    assert text.rstrip().endswith(f"{type(error).__name__}: {error_text.TOO_LARGE}")
    assert type(error).__name__.encode() in encoding.encode(error)
    serde = project_serializer()
    assert type(error).__name__ in serde.loads_typed(serde.dumps_typed(error)), "a failed task is stored"


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def test_langgraph_copies_an_interrupt_that_can_be_copied_and_shows_any_other_as_it_is() -> None:
    interrupt_copies.guard()
    interrupt_copies.guard()  # of a worker that is started twice in one process
    copy: Any = debug.asdict  # type: ignore[attr-defined]
    question = {"question": [Point("a")]}
    assert copy(Interrupt(question, "1")) == {"value": {"question": [{"x": "a"}]}, "id": "1", "response_schema": None}
    for value in (doubled("x", 40), nested(5_000), threading.Lock()):
        assert copy(Interrupt(value, "1"))["value"] is value


class Verbose(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__("short")
        self.value = value

    def __str__(self) -> str:
        return repr(self.value)


@pytest.mark.parametrize("error", [ValueError(doubled("x", 40)), KeyError(doubled("x", 40)), Verbose(doubled("x", 40))])
async def test_a_retry_of_an_exception_that_is_too_large_to_be_shown_holds_no_worker(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """langgraph makes a text of it for its log."""
    retried_errors.guard()
    retried_errors.guard()
    caplog.set_level(logging.INFO)
    tries = 0

    async def fail(state: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise error from RuntimeError(doubled("y", 40))
        return {}

    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=Exception)
    graph = StateGraph(dict).add_node("fail", fail, retry_policy=policy).add_edge(START, "fail").compile()
    if isinstance(error, Verbose):
        with pytest.raises(Verbose):
            await graph.ainvoke({})
        assert tries == 1, "nothing can make its text small"
        return
    await graph.ainvoke({})
    assert tries == 2
    assert error_text.TOO_LARGE in caplog.text


def test_what_is_shared_a_few_times_or_contains_itself_is_no_large_value() -> None:
    for value in (
        doubled("x", 10),
        [["x" * 1_000_000] * 3] * 3,
        [0] * 1_000_000,
        CYCLE,
        DEEP,
        Endless(),
        EndlessMapping(),
        range(10**15),
    ):
        assert not expansion.expands({"value": value}), type(value)


@pytest.mark.parametrize("limit", range(1, 60))
def test_the_quick_look_takes_no_value_for_small_that_counting_finds_too_large(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Values of one to some dozens of members, of all classes: each limit lies between two of them."""
    monkeypatch.setattr(expansion, "MEMBERS_MAX", limit)
    monkeypatch.setattr(expansion, "TEXT_MAX", limit)
    monkeypatch.setattr(expansion, "FEW", 0)
    kinds: list[Any] = [list, tuple, deque, Point, lambda both: Pair(both=both), lambda both: Send("n", both)]
    kinds.append(lambda both: ExtraPair.model_validate({"both": both}))
    kinds.append(lambda both: HumanMessage("hi", additional_kwargs={"both": both}))
    kinds += [of_two, AttrsPair, UserList, lambda both: MappingProxyType(of_two(both)), item, NumpyArray]
    kinds += [lambda both: ValueError(*both), lambda both: SimpleNamespace(both=both)]
    for kind in kinds:
        for times, leaf in itertools.product(range(1, 4), ("", "xx", None, 1, {}, ODD)):
            value = doubled(leaf, times, kind)
            assert expansion.expands(value) is expansion._counted_expands(value), (kind, times, leaf)


def test_a_few_long_texts_are_too_large_only_where_one_is_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "QUICK_BYTES", 100)
    monkeypatch.setattr(expansion, "TEXT_MAX", 1_000)
    assert not expansion.expands({"a": "x" * 2_000, "b": ["y" * 2_000]})
    assert expansion.expands(["x" * 2_000] * 2)


def test_the_quick_look_gives_up_soon_where_objects_share_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    class Counted(expansion._Measure):
        def reducer_override(self, value: Any) -> Any:
            nonlocal looks
            looks += 1
            return super().reducer_override(value)

    monkeypatch.setattr(expansion, "_Measure", Counted)
    assert expansion.expands(doubled(1, 40, Point))
    assert looks < 300_000


def test_the_traceback_of_a_deep_recursion_is_described_by_its_innermost_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Describing a frame takes so long that a million of them hold the graph loop for a minute."""
    described = 0
    init = traceback.FrameSummary.__init__

    def counted(self: traceback.FrameSummary, *args: Any, **options: Any) -> None:
        nonlocal described
        described += 1
        init(self, *args, **options)

    monkeypatch.setattr(traceback.FrameSummary, "__init__", counted)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)

    def deeper(left: int) -> None:
        if not left:
            raise ValueError("deep down")
        deeper(left - 1)

    try:
        deeper(20_000)
    except ValueError as error:
        text = error_text.traceback_of(error)
    finally:
        sys.setrecursionlimit(before)
    assert "ValueError: deep down" in text and described <= 2 * error_text.FRAMES_MAX
