"""The host loads graphs in TypeScript as their projects write them, and reports place and reason for one that it cannot load."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from langlog_executor.graph_host.process import GraphHostError, GraphRefused
from langlog_executor.graph_host.protocol import GraphFile

from tests.js.host.stack import node_programs, query, run, started

Write = Callable[[dict[str, str]], Path]
COMMON = """
const { END, START, StateGraph, Annotation } = require("@langchain/langgraph");
const State = Annotation.Root({ text: Annotation });
const graph = new StateGraph(State).addNode("a", () => ({ text: "1" })).addEdge(START, "a").addEdge("a", END).compile();
"""
GRAPH = """
import { END, START, StateGraph, Annotation } from "@langchain/langgraph";
const State = Annotation.Root({ text: Annotation<string> });
export const graph = new StateGraph(State).addNode("a", () => ({ text: %s })).addEdge(START, "a").addEdge("a", END)%s;
"""


async def test_all_graphs_of_a_project_are_loaded(project: Path) -> None:
    async with started(project) as host:
        assert host.loaded is not None
        assert host.graph_ids == {graph.id for graph in host.loaded.graphs}
        assert not host.is_static("made") and host.is_static("echo")
        assert host.loaded.langgraph.startswith("1.")


async def test_schemas_drawings_and_subgraphs_are_described(project: Path) -> None:
    async with started(project) as host:
        nested = (await query(host, "describe", {"graph_id": "nested"}))["answer"]
        flat, whole = json.loads(nested["drawings"])
        assert {node["id"] for node in whole["nodes"]} - {node["id"] for node in flat["nodes"]} == {
            "child:leaf",
            "child:twig",
        }
        assert set(json.loads(nested["subgraphs"])) == {"child"}
        assert set(json.loads(nested["schemas"])["state_schema"]["properties"]) == {"trail", "pause", "leaf_said"}
        made = json.loads((await query(host, "schemas", {"graph_id": "made"}))["answer"]["body"])
        assert made["input_schema"]["properties"]["text"] == {"type": "string"}
        assert made["context_schema"]["properties"]["tone"]["default"] == "plain"


@pytest.mark.parametrize(
    "files",
    [
        {"graph.ts": GRAPH % ("1 as unknown as string", "")},
        {"graph.mts": GRAPH % ("`1`", ".compile()")},
        {"graph.js": (GRAPH % ('"1"', ".compile()")).replace("<string>", "")},
        {"graph.ts": 'export { graph } from "./inner/deep.js";', "inner/deep.ts": GRAPH % ('"1"', "")},
        {"graph.ts": 'export { graph } from "./inner";', "inner/index.ts": GRAPH % ('"1"', "")},
        {
            "graph.ts": 'export { graph } from "@/deep";',
            "src/deep.ts": GRAPH % ('"1"', ""),
            "tsconfig.json": '{ // comment\n "compilerOptions": { "paths": { "@/*": ["./src/*"], }, }, }',
        },
        {"graph.ts": 'import data from "./data.json";' + GRAPH % ("data.text", ""), "data.json": '{"text": "1"}'},
        {
            "graph.ts": 'export { graph } from "@/deep";',
            "src/deep.ts": GRAPH % ('"1"', ""),
            "tsconfig.json": '{ "extends": ["./paths.json", "./strict.json"] }',
            "paths.json": '{ "compilerOptions": { "paths": { "@/*": ["./src/*"] } } }',
            "strict.json": '{ "compilerOptions": { "strict": true } }',
        },
        {
            "graph.ts": 'export { graph } from "@/deep";',
            "src/deep.ts": GRAPH % ('"1"', ""),
            "tsconfig.json": '{ "extends": "./shared/base.json" }',
            "shared/base.json": '{ "compilerOptions": { "paths": { "@/*": ["${configDir}/src/*"] } } }',
        },
        {
            "graph.ts": 'export { graph } from "#lib/deep.js";',
            "src/deep.ts": GRAPH % ('"1"', ""),
            "package.json": '{ "type": "module", "imports": { "#lib/*": "./src/*" } }',
        },
        {"graph.cts": GRAPH % ('"1"', "")},
        {"graph.cjs": COMMON + "module.exports = { graph };"},
        {"graph.js": COMMON + "exports.graph = graph;", "package.json": '{ "name": "of-common-js" }'},
        {
            "graph.ts": 'const { graph } = require("./inner");\nmodule.exports = { graph };',
            "inner.ts": GRAPH % ('"1"', ""),
            "package.json": '{ "name": "of-common-js" }',
        },
        {"graph.ts": GRAPH.replace("export const graph", "const built") % ('"1"', "") + "export const graph = Promise.resolve(built);"},
        {"graph.ts": GRAPH.replace("export const graph", "const built") % ('"1"', "") + "export function graph() { return built; }"},
        {
            "apps/agent/graph.ts": 'export { graph } from "@acme/shared";',
            "apps/agent/package.json": '{ "type": "module", "dependencies": { "@acme/shared": "workspace:*" } }',
            "packages/shared/package.json": '{ "name": "@acme/shared", "type": "module", "exports": "./src/index.ts" }',
            "packages/shared/src/index.ts": 'export * from "./graph.js";',
            "packages/shared/src/graph.ts": GRAPH % ('"1"', ""),
        },
        {"graph.ts": "export default async (config: object) => (await import('./b.ts')).graph;", "b.ts": GRAPH % ('"1"', "")},
    ],
    ids=["builder", "mts", "js", "js-for-ts", "index", "paths", "json", "extends-many", "config-dir", "imports", "cts", "cjs", "common-js", "required", "promise", "made", "workspace", "function"],
)  # fmt: skip
@pytest.mark.parametrize("node", list(node_programs()))
async def test_forms_of_projects(files: dict[str, str], write_project: Write, node: str) -> None:
    name = next(iter(files))
    folder = write_project(files)
    if (folder / "packages").is_dir():  # as npm, pnpm and yarn link a package of a workspace
        linked = folder / "apps" / "agent" / "node_modules" / "@acme"
        linked.mkdir(parents=True)
        (linked / "shared").symlink_to(folder / "packages" / "shared")
    export = "default" if "export default" in files[name] else "graph"
    async with started(folder, [GraphFile("g", str(folder / name), export)], node=node) as host:
        job, observed = await run(host, "g", {"text": "0"})
        assert (await job.done)["how"] == "done"
        assert str(observed.frames("values")[-1]["text"]) == "1"


@pytest.mark.parametrize(
    ("source", "reason", "line"),
    [
        ("const a = 1;\nexport const graph = missing;", "ReferenceError: missing is not defined", 2),
        ("const a: number = 1;\nconst b = = 2;", "SyntaxError: Unexpected token", 2),
        ("\n\nthrow new TypeError('no key');", "TypeError: no key", 3),
        ("import './nowhere';", "Cannot find module", None),
        ("export const other = 1;", "there is no export 'graph' in it", None),
        ("export const graph = { a: 1 };", "'graph' is neither a graph nor a function that makes one", None),
    ],
)
async def test_a_graph_that_does_not_load(source: str, reason: str, line: int | None, write_project: Write) -> None:
    folder = write_project({"agent.ts": source})
    with pytest.raises(GraphRefused) as refused:
        async with started(folder, [GraphFile("agent", str(folder / "agent.ts"), "graph")]):
            pass
    assert reason in refused.value.reason
    assert refused.value.line == line or line is None
    assert refused.value.file == str(folder / "agent.ts")
    assert str(refused.value).startswith('graph "agent" does not load: ')
    assert "\n" not in str(refused.value)


async def test_a_program_that_is_not_node_is_said(project: Path) -> None:
    from langlog_executor.graph_host.process import STATIC, GraphHost

    host = GraphHost(Path("/bin/true"), STATIC, project, {}, [])
    with pytest.raises(GraphHostError, match="ended before it had loaded the graphs"):
        await host.start()
    await host.stop()
