import assert from "node:assert/strict";
import { test } from "node:test";
import { Lines, LINES_MAX } from "./output.js";

test("a flood of lines is cut off, and the next line says by how many", () => {
  const lines = new Lines();
  const taken = Array.from({ length: LINES_MAX + 5 }, () => lines.take(10));
  assert.equal(taken.filter(({ sent }) => sent).length, LINES_MAX);
  assert.deepEqual(lines.take(2_000), { sent: true, leftOut: 5 });
  assert.deepEqual(lines.take(2_000), { sent: true, leftOut: 0 });
});
