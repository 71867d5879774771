"""A store of the project's own, ``store.path``: opened once, on a loop of its own, for nodes on any loop."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from langgraph.store.memory import InMemoryStore
from langlog_backbone.process.service import StartError
from langlog_backbone.project.config import Project, read_project
from langlog_executor.store.project_store import project_store

CODE = '''
import asyncio, contextlib
from langgraph.store.memory import InMemoryStore

events = []

class Bound(InMemoryStore):
    """As stores with connections are: of the loop that they were made on."""
    def __init__(self):
        super().__init__()
        self.loop = asyncio.get_running_loop()
    async def abatch(self, ops):
        assert asyncio.get_running_loop() is self.loop
        return await super().abatch(ops)

@contextlib.asynccontextmanager
async def managed():
    events.append("opened")
    yield Bound()
    events.append("closed")

async def made():
    return Bound()

def plain():
    return InMemoryStore()

ready = InMemoryStore()

def wrong():
    return 3

def broken():
    raise OSError("no database")
'''


def project(folder: Path, path: object) -> Project:
    (folder / "own_store.py").write_text(CODE)
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"a": "./a.py:b"}, "store": {"path": path}}))
    return read_project(file)


@pytest.mark.parametrize("name", ["managed", "made", "plain", "ready"])
async def test_any_way_to_name_a_store_gives_it_to_every_loop_and_thread(tmp_path: Path, name: str) -> None:
    own = project(tmp_path, f"./own_store.py:{name}")
    async with project_store(own, InMemoryStore()) as store:
        await store.aput(("a",), "k", {"v": 1})
        assert (await store.aget(("a",), "k")).value == {"v": 1}
        result = await asyncio.to_thread(store.get, ("a",), "k")
        assert result.value == {"v": 1}
        elsewhere = await asyncio.to_thread(lambda: asyncio.run(store.asearch(("a",))))
        assert [item.key for item in elsewhere] == ["k"]


async def test_a_context_manager_is_left_when_the_worker_stops(tmp_path: Path) -> None:
    import sys

    async with project_store(project(tmp_path, "./own_store.py:managed"), InMemoryStore()):
        (module,) = [m for m in sys.modules.values() if getattr(m, "__file__", "") == str(tmp_path / "own_store.py")]
        assert module.events == ["opened"]
    assert module.events == ["opened", "closed"]


async def test_without_one_nodes_get_langlogs_own(tmp_path: Path) -> None:
    own = InMemoryStore()
    async with project_store(project(tmp_path, None), own) as store:
        assert store is own


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("./own_store.py:wrong", "gives a int, not a langgraph BaseStore"),
        ("./own_store.py:broken", "cannot be opened: OSError: no database"),
        ("./own_store.py:nothing", "cannot be loaded: AttributeError"),
        ("./elsewhere.py:plain", "elsewhere.py does not exist"),
        ("own_store.py", "is not of the form"),
        (3, "must be "),
    ],
)
async def test_what_is_no_store_stops_the_start_by_its_name(tmp_path: Path, path: object, why: str) -> None:
    with pytest.raises(StartError, match=why):
        async with project_store(project(tmp_path, path), InMemoryStore()):
            pass
