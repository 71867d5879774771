import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "jsondiffpatch";
import { changesOf, identityOf, sizesOf } from "./changes";

const differ = create({ objectHash: identityOf, arrays: { detectMove: true } });
const changes = (before: unknown, after: unknown) => changesOf(differ.diff(before, after));

test("what was added, removed and changed is named by its place", () => {
  assert.deepEqual(changes({ a: 1, b: { c: "x" }, d: 1 }, { a: 2, b: { c: "y" }, e: null }), [
    { path: "a", kind: "changed", before: 1, after: 2 },
    { path: "b.c", kind: "changed", before: "x", after: "y" },
    { path: "d", kind: "removed", before: 1 },
    { path: "e", kind: "added", after: null },
  ]);
  assert.deepEqual(changes({ a: 1 }, { a: 1 }), []);
});

test("messages are the same by their id, wherever they stand", () => {
  const [one, two] = [{ id: "1", content: "a" }, { id: "2", content: "b" }];
  assert.deepEqual(changes({ messages: [one] }, { messages: [one, two] }), [{ path: "messages[1]", kind: "added", after: two }]);
  assert.deepEqual(changes({ messages: [one] }, { messages: [{ ...one, content: "c" }] }), [{ path: "messages[0].content", kind: "changed", before: "a", after: "c" }]);
  assert.deepEqual(changes({ m: [one, two] }, { m: [two, one] }).map((change) => change.kind), ["moved"]);
});

test("channels are measured in bytes of JSON, the greatest change first", () => {
  assert.deepEqual(sizesOf({ a: "é", b: 1 }, { a: "é", c: [1, 2, 3] }), [
    { channel: "c", before: null, after: 7 }, { channel: "b", before: 1, after: null }, { channel: "a", before: 4, after: 4 },
  ]);
});
