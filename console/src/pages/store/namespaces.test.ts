import assert from "node:assert/strict";
import { test } from "node:test";
import { filterOf, treeOf } from "./namespaces";

test("namespaces become a tree", () => {
  const tree = treeOf([["users", "ada"], ["users", "ada", "notes"], ["docs"]]);
  assert.deepEqual(tree.map((one) => [one.label, one.here, one.branches.length]), [["users", false, 1], ["docs", true, 0]]);
  assert.deepEqual(tree[0]?.branches[0]?.branches[0]?.path, ["users", "ada", "notes"]);
});

test("a filter is pairs or JSON", () => {
  assert.equal(filterOf("  "), null);
  assert.deepEqual(filterOf("kind=note, n=3, open=true"), { kind: "note", n: 3, open: true });
  assert.deepEqual(filterOf('{"n": {"$gt": 2}}'), { n: { $gt: 2 } });
  assert.throws(() => filterOf("nothing"), /name=value/);
  assert.throws(() => filterOf("{"), /no JSON/);
});
