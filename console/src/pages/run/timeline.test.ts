import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuditEvent, Json } from "../../api/types";
import { ticks, timelineOf } from "./timeline";

let offset = 0;
const event = (ms: number, type: string, data: { [name: string]: Json } = {}): AuditEvent => ({
  id: "i", type: `langlog.${type}.v1`, time: new Date(ms).toISOString(), subject: "t", run_id: "r", source: null, actor: null, cause: null,
  position: { topic: "run-events", partition: 0, offset: (offset += 1) }, data,
});
const writes = (ms: number, namespace: string, checkpoint: string, node: string, channel: string) =>
  event(ms, "checkpoint.writes", { namespace, checkpoint_id: checkpoint, task_id: `${node}-task`, node, writes: [{ channel, bytes: 1 }] });

test("a run is its waits, its attempt and its nodes, each from the checkpoint that it began with", () => {
  const made = timelineOf([
    event(0, "run.created"), event(0, "run.dispatched", { attempt: 1 }), event(1200, "run.started", { attempt: 1, worker: "abcdefghij" }),
    event(1210, "checkpoint.written", { namespace: "", checkpoint_id: "c1" }), writes(1300, "", "c1", "plan", "done"),
    event(1310, "run.succeeded", { attempt: 1 }),
  ]);
  assert.deepEqual(made?.bars.map((bar) => [bar.label, bar.start, bar.end, bar.tone]), [
    ["Waited for a worker", 0, 1200, "gap"], ["Attempt 1", 1200, 1310, "attempt"], ["plan", 1210, 1300, "node"],
  ]);
  assert.equal(made?.outcome, "succeeded");
});

test("checkpoints and writes that share a record are shown as if each had its own", () => {
  const made = timelineOf([
    event(0, "run.created"), event(0, "run.dispatched", { attempt: 1 }), event(1200, "run.started", { attempt: 1, worker: "abcdefghij" }),
    event(1210, "checkpoint.steps", { steps: [
      { type: "langlog.checkpoint.written.v1", after_us: 0, namespace: "", checkpoint_id: "c1" },
      { type: "langlog.checkpoint.writes.v1", after_us: 90_500, namespace: "", checkpoint_id: "c1", task_id: "plan-task", node: "plan", writes: [{ channel: "done", bytes: 1 }] },
    ] }),
    event(1310, "run.succeeded", { attempt: 1 }),
  ]);
  assert.deepEqual(made?.bars.map((bar) => [bar.label, bar.start, bar.end]), [["Waited for a worker", 0, 1200], ["Attempt 1", 1200, 1310], ["plan", 1210, 1300.5]]);
});

test("a failure names the innermost node, its state and where to go on from", () => {
  const made = timelineOf([
    event(0, "run.created"), event(0, "run.dispatched"), event(1, "run.started"),
    event(2, "checkpoint.written", { namespace: "", checkpoint_id: "c1" }), event(3, "checkpoint.written", { namespace: "work:1", checkpoint_id: "s1" }),
    writes(4, "work:1", "s1", "add", "__error__"), writes(5, "", "c1", "work", "__error__"),
    event(6, "run.failed", { error: { error: "ValueError", message: "no" } }),
  ]);
  assert.deepEqual(made?.failure, { node: "add", error: "ValueError", message: "no", checkpoint: { namespace: "work:1", id: "s1" }, from: "c1" });
  assert.deepEqual(made?.bars.map((bar) => [bar.label, bar.depth]), [["Waited for a worker", 0], ["Attempt 1", 0], ["work", 1], ["add", 2]]);
});

test("a lost worker is a failed attempt and a wait for another one; a run that goes on has open bars", () => {
  const made = timelineOf([
    event(0, "run.created"), event(0, "run.dispatched", { attempt: 1 }), event(5, "run.started", { attempt: 1 }),
    event(10_000, "run.dispatched", { attempt: 2 }), event(10_100, "run.started", { attempt: 2 }),
  ]);
  assert.deepEqual(made?.bars.map((bar) => [bar.label, bar.end, bar.tone]), [
    ["Waited for a worker", 5, "gap"], ["Attempt 1", 10_000, "bad"], ["Waited for another worker", 10_100, "gap"], ["Attempt 2", null, "attempt"], ["Running", null, "step"],
  ]);
  assert.equal(made?.end, null);
});

test("a node that the state names as running has an open bar, unless its end is among the events", () => {
  const events = [
    event(0, "run.created"), event(0, "run.dispatched", { attempt: 1 }), event(5, "run.started", { attempt: 1, worker: "abcdefghij" }),
    event(10, "checkpoint.written", { namespace: "", checkpoint_id: "c1" }), event(12, "checkpoint.written", { namespace: "work:w", checkpoint_id: "s1" }),
  ];
  const running = [{ namespace: "", checkpoint: "c1", node: "work", task: "work-task" }, { namespace: "work:w", checkpoint: "s1", node: "add", task: "add-task" }];
  const bars = (made: ReturnType<typeof timelineOf>) => made?.bars.filter((bar) => bar.depth > 0).map((bar) => [bar.label, bar.depth, bar.start, bar.end]);
  assert.deepEqual(bars(timelineOf(events, running)), [["work", 1, 10, null], ["add", 2, 12, null]]);
  events.push(writes(20, "work:w", "s1", "add", "total"));
  assert.deepEqual(bars(timelineOf(events, running)), [["work", 1, 10, null], ["add", 2, 12, 20]]);
});

test("a run that is dispatched as it is created waits for a worker, and a delayed one for its time", () => {
  const bars = (dispatched: { [name: string]: string }) =>
    timelineOf([event(0, "run.created", dispatched), event(5, "run.started", { attempt: 1 })])?.bars.map((bar) => bar.label);
  assert.deepEqual(bars({ dispatched: "ready" }), ["Waited for a worker", "Attempt 1", "Running"]);
  assert.deepEqual(bars({}), ["Waited for its turn on the thread", "Attempt 1", "Running"]);
});

test("events without a time, and none at all, give no timeline", () => {
  assert.equal(timelineOf([]), null);
  assert.equal(timelineOf([{ ...event(0, "run.created"), time: null }]), null);
});

test("the axis has a few round marks, whatever its length", () => {
  assert.deepEqual(ticks(1000, 5), [0, 200, 400, 600, 800, 1000]);
  assert.deepEqual(ticks(0, 5), [0]);
  assert.ok(ticks(1e9, 6).length <= 7);
});
