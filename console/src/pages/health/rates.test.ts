import assert from "node:assert/strict";
import { test } from "node:test";
import { rates, sampled, SAMPLES_KEPT, spark } from "./rates";
import type { SystemHealth } from "../../api/operator";

const health = (at: string, position: number): SystemHealth =>
  ({ at, groups: [{ group: "deciders", topic: "commands", partitions: 1, partitions_behind: 0, position, end: position, lag: 0 }] }) as unknown as SystemHealth;

test("a rate is what was read between two views, by their times", () => {
  let samples = sampled([], health("2026-01-01T00:00:00Z", 10));
  samples = sampled(samples, health("2026-01-01T00:00:02Z", 30));
  samples = sampled(samples, health("2026-01-01T00:00:03Z", 5));
  assert.deepEqual(rates(samples, "deciders commands"), [10, 0]);
  assert.deepEqual(rates(samples, "nobody"), []);
});

test("old samples go", () => {
  let samples = sampled([], health("2026-01-01T00:00:00Z", 0));
  for (let n = 0; n < 200; n++) samples = sampled(samples, health("2026-01-01T00:00:01Z", n));
  assert.equal(samples.length, SAMPLES_KEPT);
});

test("a line needs two values and stays in its box", () => {
  assert.equal(spark([1], 10, 10), "");
  assert.equal(spark([0, 4], 10, 10), "M0.0 9.0L10.0 1.0");
});
