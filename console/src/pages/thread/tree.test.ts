import assert from "node:assert/strict";
import { test } from "node:test";
import { branchOf, placed } from "./tree";

const tree = (text: string) => text.split(" ").map((pair) => ({ id: pair[0] as string, parent: pair[1] ?? null }));
const place = (text: string) => placed(tree(text), (c) => c.id, (c) => c.parent);

test("a thread without branches is one column", () => {
  assert.deepEqual(place("cb ba a").map((row) => row.column), [0, 0, 0]);
});

test("a branch has a column of its own until it meets the other", () => {
  // d and c both come from b
  const rows = place("db cb ba a");
  assert.deepEqual(rows.map((row) => row.column), [0, 1, 0, 0]);
  assert.deepEqual(rows[2]?.lines, [{ from: 0, to: 0 }, { from: 1, to: 0 }]);
});

test("columns are used again, and parents that are not loaded end no line", () => {
  const rows = place("fe eb db cb bx");
  assert.deepEqual(rows.map((row) => row.column), [0, 0, 1, 2, 0]);
  assert.equal(rows[4]?.hasParent, false);
});

test("the branch of a checkpoint is its ancestors, also in a circle that cannot be", () => {
  assert.deepEqual([...branchOf(tree("db cb ba a"), "c", (c) => c.id, (c) => c.parent)], ["c", "b", "a"]);
  assert.equal(branchOf(tree("ab ba"), "a", (c) => c.id, (c) => c.parent).size, 2);
});
