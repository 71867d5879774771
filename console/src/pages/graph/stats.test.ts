import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bar, Timeline } from "../run/timeline";
import { labelOf, place } from "./layout";
import { middle, nodeId, statsOf } from "./stats";

const bar = (label: string, start: number, end: number | null, tone: Bar["tone"] = "node", namespace = ""): Bar => ({ id: "", label, note: "", depth: 1, start, end, tone, checkpoint: { namespace, id: "c" }, events: [] });
const timeline = (bars: Bar[], end: number | null = 100): Timeline => ({ start: 0, end, bars, isWorkedOn: end === null, failure: null, outcome: null });

test("a node of a subgraph has the drawing's id", () => {
  assert.equal(nodeId("", "plan"), "plan");
  assert.equal(nodeId("work:3f|inner:9a", "add"), "work:inner:add");
});

test("counts, failures, running nodes and the middle duration", () => {
  const stats = statsOf([timeline([bar("a", 0, 10), bar("a", 10, 40, "bad"), bar("wait", 0, 5, "gap")]), timeline([bar("a", 0, null)], null), null]);
  const a = stats.get("a");
  assert.deepEqual([a?.count, a?.failures, a?.running, a && middle(a)], [3, 1, 1, 10]);
  assert.equal(stats.has("wait"), false);
});

test("every node has a place, subgraphs are boxes around theirs, and unknown ends of edges are left out", () => {
  const placed = place({ nodes: [{ id: "__start__" }, { id: "work:add" }, { id: "work:check" }], edges: [{ source: "__start__", target: "work:add" }, { source: "work:add", target: "work:check", conditional: true }, { source: "x", target: "y" }] });
  assert.equal(placed.nodes.length, 3);
  assert.equal(placed.edges.length, 2);
  const group = placed.groups[0];
  const add = placed.nodes.find((node) => node.label === "add");
  assert.ok(group && add && group.x < add.x && group.y < add.y && group.label === "work");
  assert.equal(labelOf("__end__"), "end");
});
