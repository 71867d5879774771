import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json } from "../api/types";
import { excerpt, ago, bytes, duration, oneLine, plural } from "./format";

test("how long ago is said in the unit that fits", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  const at = (seconds: number) => new Date(now - seconds * 1000).toISOString();
  assert.deepEqual([3, 59, 60, 7199, 90_000, -30].map((s) => ago(at(s), now)), ["just now", "59 s ago", "1 min ago", "1 h ago", "1 d ago", "in 30 s"]);
  assert.equal(ago("no time", now), "no time");
});

test("durations and sizes keep two or three figures", () => {
  assert.deepEqual([0.2, 5, 250, 1234, 61_000, 3_700_000].map(duration), ["200 µs", "5.0 ms", "250 ms", "1.23 s", "1 min 1 s", "1 h 1 min"]);
  assert.deepEqual([12, 1500, 25_000, 3_000_000].map(bytes), ["12 B", "1.5 kB", "25 kB", "3.0 MB"]);
});

test("one line of a text is short, whatever it holds", () => {
  assert.equal(oneLine("a\n b\t c"), "a b c");
  assert.equal(oneLine("x".repeat(1_000_000), 10).length, 10);
  assert.equal(plural(1, "run"), "1 run");
  assert.equal(plural(2000, "run"), "2,000 runs");
});

test("an excerpt of a value takes as long as it is, whatever the value's size and depth", () => {
  assert.equal(excerpt({ a: [1, "x"], b: null }, 100), '{"a":[1,"x"],"b":null}');
  let deep: Json = 1;
  for (let n = 0; n < 100_000; n++) deep = [deep];
  for (const value of [deep, "x".repeat(1_000_000), Array.from({ length: 100_000 }, () => "y")]) assert.ok(excerpt(value, 100).length <= 100);
});
