import assert from "node:assert/strict";
import { test } from "node:test";
import { place } from "./layout";

test("a large graph with cycles is placed in rows at once, and says what it leaves out", () => {
  const nodes = Array.from({ length: 500 }, (_, n) => ({ id: `n${n}` }));
  const edges = nodes.flatMap((_, n) => [1, 7, 13].map((step) => ({ source: `n${n}`, target: `n${(n * step + 1) % 400}` })));
  const began = performance.now();
  const placed = place({ nodes, edges });
  assert.ok(performance.now() - began < 1_000);
  assert.equal(placed.nodes.length, 400);
  assert.equal(placed.omitted, 400); // a hundred nodes, and the three edges of each
  assert.equal(new Set(placed.nodes.map((node) => `${node.x} ${node.y}`)).size, 400);
});

test("a node may have the name of a subgraph's box, appear twice, or be a number", () => {
  const placed = place({ nodes: [{ id: "group a" }, { id: "a:b" }, { id: "a" }, { id: "a" }, { id: 7 as unknown as string }], edges: [{ source: "group a", target: "a:b" }, { source: "a", target: "a" }] });
  assert.equal(placed.nodes.length, 4);
  assert.deepEqual(placed.groups.map((group) => group.label), ["a"]);
});
