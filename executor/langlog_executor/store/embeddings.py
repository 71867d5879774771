"""Embeddings of texts by the project's function (``store.index``), for nodes and for gateways.

    put, search ──texts──► Embedder (I/O loop) ──100 at a time──► graph loop or node thread: the project's code ──► vectors

Vectors are computed once, before the command that writes the item, and are part of it: folding and rebuilding need no model. Texts that
arrive while calls are under way share the next one. Concurrency: belongs to the I/O loop; the project's code runs on a graph loop of its
own (async) or on a node thread (sync), as nodes do. When it dies, the put or search fails, and nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from array import array
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings, get_text_at_path, tokenize_path
from langlog_backbone.process.service import StartError
from langlog_backbone.project.imports import import_file, import_module, imported_file
from langlog_backbone.project.store_index import StoreIndex
from langlog_schemas.commands import StoreVector
from langlog_schemas.rules.vectors import pack

if TYPE_CHECKING:
    from langlog_backbone.project.config import Project

    from ..runtime.graph_loops import GraphLoops

HOME = "store.index"
"""Name of the project's function among the graphs of the graph loops."""
TEXTS_AT_ONCE = 100
"""Maximum number of texts of one call of the project's function: providers refuse more than a few hundred."""
CALLS_AT_ONCE = 4
VECTORS_MAX = 500
"""Maximum number of vectors of one item: a path with ``[*]`` makes one for each element."""


class EmbeddingFailed(Exception):
    """The project's function raised, took too long, or returned something other than vectors."""

    for_clients = True


class TooManyTexts(ValueError):
    """An item has more texts than `VECTORS_MAX`."""

    for_clients = True


class ItemQuestion(msgspec.Struct, frozen=True):
    """An item to be put; ``index`` as in the wire contract (§11)."""

    value: dict[str, Any]
    index: list[str] | None = None


class QueryQuestion(msgspec.Struct, frozen=True):
    text: str


class Text(NamedTuple):
    path: str
    text: str


class _Request(NamedTuple):
    texts: list[str]
    vectors: asyncio.Future[list[list[float]]]


class Embedder:
    """Calls the project's function; one per process. ``limit_s``: timeout of one call, in seconds."""

    def __init__(self, embeddings: Embeddings, index: StoreIndex, loops: GraphLoops, limit_s: float) -> None:
        self._embeddings = embeddings
        self._loops = loops
        self._limit_s = limit_s
        self._dims = index.dims
        self._paths = index.paths
        self._waiting: deque[_Request] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    def texts_of(self, value: Mapping[str, Any], index: Sequence[str] | None) -> list[Text]:
        """Return the texts of an item to embed. Raises TooManyTexts. Any thread."""
        item_texts: list[Text] = []
        for path in self._paths if index is None else index:
            texts = get_text_at_path(value, tokenize_path(path) if path != "$" else path)
            # as langgraph's own stores name them
            item_texts += [Text(path if len(texts) == 1 else f"{path}.{n}", text) for n, text in enumerate(texts)]
        item_texts = [text for text in item_texts if text.text.strip()]
        if len(item_texts) > VECTORS_MAX:
            raise TooManyTexts(
                f"The item has {len(item_texts)} texts to be embedded, at most {VECTORS_MAX} are allowed"
            )
        return item_texts

    async def vectors(self, texts: Sequence[Text]) -> list[StoreVector]:
        """Return the vectors of texts. Raises EmbeddingFailed."""
        chunks = [texts[n : n + TEXTS_AT_ONCE] for n in range(0, len(texts), TEXTS_AT_ONCE)]
        embedded = await asyncio.gather(*(self._documents([text for _, text in chunk]) for chunk in chunks))
        return [
            StoreVector(path, *pack(vector))
            for chunk, vectors in zip(chunks, embedded, strict=True)
            for (path, _), vector in zip(chunk, vectors, strict=True)
        ]

    async def query(self, text: str) -> list[float]:
        """Return the vector of a query: some models embed queries and documents differently. Raises EmbeddingFailed."""
        return self._vector(await self._run(lambda: self._embeddings.aembed_query(text)))

    # what gateways ask

    async def item(self, question: ItemQuestion) -> bytes:
        """Return the list of `StoreVector` of an item, as JSON."""
        return msgspec.json.encode(await self.vectors(self.texts_of(question.value, question.index)))

    async def search(self, question: QueryQuestion) -> bytes:
        """Return the `StoreVector` of a text, as JSON."""
        return msgspec.json.encode(StoreVector("$", *pack(await self.query(question.text))))

    # batches

    def _documents(self, texts: list[str]) -> asyncio.Future[list[list[float]]]:
        request = _Request(texts, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if len(self._calls) < CALLS_AT_ONCE:
            task = asyncio.create_task(self._work())
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        return request.vectors

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft()]
            size = len(batch[0].texts)
            while self._waiting and size + len(self._waiting[0].texts) <= TEXTS_AT_ONCE:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].texts)
            await self._answer([request for request in batch if not request.vectors.done()])

    async def _answer(self, batch: list[_Request]) -> None:
        """Embed the texts of all requests in one call; if it fails, in one call each, so that no request fails for another one's text."""
        if not batch:
            return
        texts = list(dict.fromkeys(text for request in batch for text in request.texts))
        try:
            answer = await self._run(lambda: self._embeddings.aembed_documents(texts))
            if not isinstance(answer, Sequence) or len(answer) != len(texts):
                raise EmbeddingFailed(f"store.index.embed gave {_count(answer)} for {len(texts)} texts")
            vectors = dict(zip(texts, map(self._vector, answer), strict=True))
        except EmbeddingFailed as error:
            if len(batch) > 1:
                for request in batch:
                    await self._answer([request])
            elif not batch[0].vectors.done():
                batch[0].vectors.set_exception(error)
            return
        for request in batch:
            if not request.vectors.done():
                request.vectors.set_result([vectors[text] for text in request.texts])

    async def _run(self, start: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        work = self._loops.submit(HOME, start)
        try:
            async with asyncio.timeout(self._limit_s):
                # shielded: a future whose waiter is cancelled counts as done, and the function would run without a receiver
                return await asyncio.shield(work.done)
        except TimeoutError:
            raise EmbeddingFailed(
                f"store.index.embed took more than {self._limit_s:g} s, or timed out itself"
            ) from None
        except asyncio.CancelledError:
            if not work.done.cancelled():
                raise
            raise EmbeddingFailed("store.index.embed was cancelled") from None
        except Exception as error:
            raise EmbeddingFailed(f"store.index.embed failed: {error!r}") from error
        finally:
            if not work.done.done():
                work.cancel()

    def _vector(self, vector: Any) -> list[float]:
        """Return a vector. Raises EmbeddingFailed unless it has the configured length."""
        to_list = getattr(vector, "tolist", None)
        numbers = vector if to_list is None else to_list()
        if not isinstance(numbers, list | tuple) or len(numbers) != self._dims:
            raise EmbeddingFailed(f"store.index.embed gave {_count(numbers)} where store.index.dims is {self._dims}")
        with contextlib.suppress(TypeError):
            if all(
                map(math.isfinite, array("f", numbers))
            ):  # as Postgres compares them: 32 bits may hold less than what was given
                return array("d", numbers).tolist()
        raise EmbeddingFailed("store.index.embed gave a vector that is not made of finite numbers")


def _count(answer: Any) -> str:
    return f"{len(answer)} numbers or vectors" if isinstance(answer, Sequence) else f"a {type(answer).__name__}"


def load_embeddings(project: Project, index: StoreIndex) -> Embeddings:
    """Return the object that ``store.index.embed`` names. Changes the process as loading graphs does; those are loaded before.

    ``path.py:name`` and ``package.module:name`` are functions or `Embeddings` of the project; anything else is a provider's model,
    as langchain's ``init_embeddings`` knows them. Raises StartError.
    """
    where = f"{project.file}: store.index.embed"
    try:
        source, colon, name = index.embed.rpartition(":")
        if colon and (source.endswith(".py") or "/" in source):
            path = (project.root / source).resolve()
            loaded: Any = imported_file(path) or import_file(path)
        elif colon and "." in source:
            loaded = sys.modules.get(source) or import_module(source)
        else:
            return ensure_embeddings(index.embed)
        for part in name.split("."):
            loaded = getattr(loaded, part)
        if not isinstance(loaded, Embeddings) and (not callable(loaded) or isinstance(loaded, type)):
            raise StartError(f"{where}: {index.embed!r} is neither a function nor an Embeddings object")
        return ensure_embeddings(loaded)
    except StartError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())  # langchain explains itself over several lines
        raise StartError(f"{where}: {index.embed!r} cannot be loaded: {type(error).__name__}: {why}") from error
