import assert from "node:assert/strict";
import { test } from "node:test";
import { differences } from "./versions";

test("members are compared one by one, and lists by their places", () => {
  assert.deepEqual(differences({ a: 1, b: { c: [1, 2] } }, { a: 1, b: { c: [1, 3] }, d: null }), [
    { path: "b.c.1", before: "2", after: "3" },
    { path: "d", before: null, after: "null" },
  ]);
  assert.deepEqual(differences({ a: [] }, { a: {} }), [{ path: "a", before: "[]", after: "{}" }]);
  assert.deepEqual(differences("x", "x"), []);
});
