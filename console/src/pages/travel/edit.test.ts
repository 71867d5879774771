import assert from "node:assert/strict";
import { test } from "node:test";
import { answerOf, editedOf, shown } from "./edit";

test("only channels that were changed are sent, and what is no JSON is refused by its name", () => {
  const before = { a: 1, b: [1], c: "x" };
  const texts = { a: shown(1), b: "[1,2]", c: "{", d: "null" };
  const edited = editedOf(before, texts);
  assert.deepEqual(edited.values, { b: [1, 2] });
  assert.deepEqual(Object.keys(edited.wrong), ["c"]);
});

test("the same value written another way is no change", () => {
  assert.deepEqual(editedOf({ a: { b: 1 } }, { a: '{"b":1}' }), { values: {}, wrong: {} });
});

test("an answer is JSON if it can be read as such, and text otherwise", () => {
  assert.deepEqual(answerOf('{"ok": true}'), { ok: true });
  assert.equal(answerOf("yes"), "yes");
});
