"""A store of the project's own (``store.path``), which graph nodes use instead of langlog's.

The API's store (``/store/items``) stays langlog's, which keeps its items in the log: the two hold different items.
``store.path`` names an asynchronous context manager that yields a `BaseStore`, as in LangGraph's documentation, a function
that returns one, or a store.

Concurrency: connections belong to the loop that they were made on, and graphs run on several; the project's store lives on one loop, in a
thread of its own, for the worker's life, and `ProjectStore` forwards calls to it. When the worker dies, the project's context
manager is not exited.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import structlog
from langgraph.store.base import BaseStore, Op, Result
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project
from langlog_backbone.project.imports import load_object

logger = structlog.get_logger(__name__)

T = TypeVar("T")

OPEN_S = 60.0
CLOSE_S = 5.0


class ProjectStore(BaseStore):
    """`BaseStore` for any loop and thread, over a store that lives on a loop of its own."""

    def __init__(self, store: BaseStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self.supports_ttl = store.supports_ttl
        self.ttl_config = store.ttl_config

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        results: list[Result] = await asyncio.wrap_future(self._call(self._store.abatch(list(ops))))
        return results

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        results: list[Result] = self._call(self._store.abatch(list(ops))).result()
        return results

    def _call(self, call: Coroutine[Any, Any, T]) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self._loop)


@contextlib.asynccontextmanager
async def project_store(project: Project, otherwise: BaseStore) -> Any:
    """Yield the store for nodes: the project's, or ``otherwise``. Raises StartError."""
    path = project.section("store").get("path")
    if not path:
        yield otherwise
        return
    where = f"{project.file}: store.path: {path!r}"
    made = load_object(project, "store.path", path, shared=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="project-store", daemon=True)
    thread.start()
    stack = contextlib.AsyncExitStack()

    async def opened() -> BaseStore:
        store = made() if callable(made) and not isinstance(made, BaseStore) else made
        if inspect.isawaitable(store):
            store = await store
        if hasattr(store, "__aenter__"):
            store = await stack.enter_async_context(store)
        elif hasattr(store, "__enter__") and not isinstance(store, BaseStore):
            store = stack.enter_context(store)
        if not isinstance(store, BaseStore):
            raise StartError(f"{where} gives a {type(store).__name__}, not a langgraph BaseStore")
        return store

    def there(call: Coroutine[Any, Any, T]) -> Any:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, loop))

    try:
        try:
            store = await asyncio.wait_for(there(opened()), OPEN_S)
        except StartError:
            raise
        except Exception as error:
            raise StartError(f"{where} cannot be opened: {type(error).__name__}: {error}") from error
        logger.info(
            "store.of_project", path=path, means="nodes use it; /store/items is langlog's own store, with other items"
        )
        yield ProjectStore(store, loop)
    finally:
        try:
            await asyncio.wait_for(there(stack.aclose()), CLOSE_S)
        except Exception:
            logger.exception("store.of_project_not_closed")
        loop.call_soon_threadsafe(loop.stop)
