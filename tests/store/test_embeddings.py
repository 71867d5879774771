"""The project's embedding function: what it is given, how often it is called, and what it must not be able to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import GraphSpec, Project
from langlog_backbone.project.store_index import StoreIndex
from langlog_executor.runtime.graph_loops import GraphLoops
from langlog_executor.runtime.io_loop import IoLoop
from langlog_executor.store.embeddings import (
    VECTORS_MAX,
    Embedder,
    EmbeddingFailed,
    Text,
    TooManyTexts,
    load_embeddings,
)
from langlog_schemas.rules.vectors import pack, unpack

from .vectors import embed

Make = Callable[..., Embedder]


@pytest.fixture
async def io() -> IoLoop:
    return IoLoop(cast(Any, None))


@pytest.fixture
async def make(io: IoLoop) -> AsyncIterator[Make]:
    loops = GraphLoops(io, threads=8)

    def made(function: Any = embed, fields: list[str] | None = None, dims: int = 3, limit_s: float = 60.0) -> Embedder:
        return Embedder(ensure_embeddings(function), StoreIndex("", dims, fields), loops, limit_s)

    yield made
    loops.stop()


def texts(*found: str) -> list[Text]:
    return [Text(f"p{n}", text) for n, text in enumerate(found)]


@pytest.mark.parametrize(
    ("fields", "index", "expected"),
    [
        (None, None, [("$", '{"n": 7, "tags": [{"t": "a"}, {"t": "b"}], "text": "x"}')]),
        (["text", "absent"], None, [("text", "x")]),
        (["n"], None, [("n", "7")]),
        (["text"], ["tags[*].t"], [("tags[*].t.0", "a"), ("tags[*].t.1", "b")]),
        (["text"], ["tags[-1].t"], [("tags[-1].t", "b")]),
        (["text"], [], []),
    ],
)
async def test_the_texts_of_an_item_are_those_its_paths_name(
    make: Make, fields: list[str] | None, index: list[str] | None, expected: list[tuple[str, str]]
) -> None:
    value = {"text": "x", "n": 7, "tags": [{"t": "a"}, {"t": "b"}]}
    assert make(fields=fields).texts_of(value, index) == expected


async def test_blank_texts_are_left_out_and_too_many_are_refused(make: Make) -> None:
    embedder = make(fields=["l[*]"])
    assert embedder.texts_of({"l": ["a", " ", "", "b"]}, None) == [("l[*].0", "a"), ("l[*].3", "b")]
    with pytest.raises(TooManyTexts, match=str(VECTORS_MAX)):
        embedder.texts_of({"l": ["a"] * (VECTORS_MAX + 1)}, None)


async def test_texts_that_come_together_share_a_call_and_equal_ones_are_embedded_once(make: Make) -> None:
    calls: list[list[str]] = []

    def counting(asked: Sequence[str]) -> list[list[float]]:
        calls.append(list(asked))
        return embed(asked)

    embedder = make(counting)
    results = await asyncio.gather(*(embedder.vectors(texts("same", f"a{n}")) for n in range(40)))
    assert [vectors[1].embedding for vectors in results] == [pack([1.0, 0.0, 0.0])[0]] * 40
    assert sum(map(len, calls)) <= 41 + len(calls)
    assert len(calls) <= 4
    assert max(map(len, calls)) <= 100


async def test_an_item_of_many_texts_is_embedded_piece_by_piece(make: Make) -> None:
    sizes: list[int] = []

    async def counting(asked: Sequence[str]) -> list[list[float]]:
        sizes.append(len(asked))
        return embed(asked)

    vectors = await make(counting).vectors(texts(*("a" * n for n in range(250))))
    assert [unpack(vector.embedding, vector.bits)[0] for vector in vectors] == [float(n) for n in range(250)]
    assert sorted(sizes) == [50, 100, 100]


async def test_a_text_that_cannot_be_embedded_costs_nobody_else_anything(make: Make) -> None:
    def picky(asked: Sequence[str]) -> list[list[float]]:
        if "bad" in asked:
            raise ValueError("too long")
        return embed(asked)

    embedder = make(picky)
    good, bad, other = await asyncio.gather(
        *(embedder.vectors(texts(text)) for text in ("a", "bad", "b")), return_exceptions=True
    )
    assert isinstance(bad, EmbeddingFailed) and "too long" in str(bad)
    assert not isinstance(good, BaseException) and not isinstance(other, BaseException)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([[1.0, 2.0]], "2 numbers"),
        ([], "0 numbers or vectors for 1 texts"),
        (None, "NoneType"),
        ([[1.0, 2.0, float("nan")]], "finite"),
        ([[1.0, 2.0, "3"]], "finite"),
        ([[1.0, 2.0, 1e300]], "finite"),
        ([None], "NoneType"),
    ],
)
async def test_what_is_no_vector_of_the_right_length_is_refused(make: Make, answer: Any, why: str) -> None:
    with pytest.raises(EmbeddingFailed, match=why):
        await make(lambda _: answer).vectors(texts("a"))


async def test_a_function_that_blocks_holds_up_no_event_loop(make: Make) -> None:
    release, loop, reached = threading.Event(), asyncio.get_running_loop(), asyncio.Event()

    def slow(asked: Sequence[str]) -> list[list[float]]:
        loop.call_soon_threadsafe(reached.set)
        assert release.wait(60), "the loop that would release it is held up"
        return embed(asked)

    asking = asyncio.ensure_future(make(slow).vectors(texts("a")))
    await reached.wait()
    release.set()
    assert len(await asking) == 1


async def test_a_function_that_takes_too_long_is_cancelled(make: Make) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def never(_: Sequence[str]) -> list[list[float]]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return []

    embedder = make(never, limit_s=0.5)
    with pytest.raises(EmbeddingFailed, match=r"more than 0\.5 s"):
        await embedder.vectors(texts("a"))
    # (given up before its thread came to it, it never begins)
    assert not begun.is_set() or await asyncio.to_thread(cancelled.wait, 60)


async def test_searches_are_embedded_as_such_by_models_that_tell_them_apart(make: Make) -> None:
    class Apart(Embeddings):
        def embed_documents(self, asked: list[str]) -> list[list[float]]:
            return [[0.0, 0.0, 1.0] for _ in asked]

        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.0, 0.0]

    embedder = make(Apart())
    assert await embedder.query("x") == [1, 0, 0]
    assert (await embedder.vectors(texts("x")))[0].embedding == pack([0, 0, 1])[0]


def project(folder: Path) -> Project:
    spec = GraphSpec(graph_id="g", position=0, source="g.py", attribute="g")
    return Project(file=folder / "langgraph.json", graphs={"g": spec}, config={})


async def test_functions_are_found_by_path_and_by_module(tmp_path: Path) -> None:
    (tmp_path / "fine.py").write_text("def embed(texts):\n    return [[1.0] for _ in texts]\n")
    for named in ("fine.py:embed", "./fine.py:embed", "tests.store.vectors:embed"):
        embeddings = load_embeddings(project(tmp_path), StoreIndex(named, 1))
        assert len(await embeddings.aembed_documents(["a"])) == 1


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("gone.py:embed", "FileNotFoundError"),
        ("broken.py:embed", "ZeroDivisionError"),
        ("odd.py:absent", "no attribute 'absent'"),
        ("odd.py:number", "neither a function nor an Embeddings object"),
        ("no.such.module:embed", "ModuleNotFoundError"),
        ("openai:text-embedding-3-small", "langchain|openai"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_cannot_be_loaded_stops_the_start_and_is_named(tmp_path: Path, named: str, why: str) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "odd.py").write_text("number = 7\n")
    with pytest.raises(StartError, match=why) as refused:
        load_embeddings(project(tmp_path), StoreIndex(named, 1))
    assert "store.index.embed" in str(refused.value)
    assert "\n" not in str(refused.value)
