import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuditEvent, Json } from "../../api/types";
import { causeKey, command, summary } from "./about";

const event = (type: string, data: AuditEvent["data"], run: string | null = "r1"): AuditEvent => ({
  id: null, type: `langlog.${type}.v1`, time: null, subject: "t", run_id: run, source: null, actor: null,
  cause: { partition: 3, offset: 9, index: 0, count: 2 }, position: { topic: "run-events", partition: 3, offset: 1 }, data,
});

test("an event is said in one line, whatever its body is", () => {
  assert.equal(summary(event("checkpoint.writes", { node: "plan", writes: [{ channel: "done" }, { channel: "branch:to:x" }] })), "plan wrote done");
  assert.equal(summary(event("checkpoint.written", { namespace: "work:1", metadata: { step: 2 }, changed: { total: 4 }, bytes: 1500 })), "work: step 2, changed total (1.5 kB)");
  const steps: Json[] = [{ type: "langlog.checkpoint.writes.v1", node: "plan", writes: [{ channel: "done" }] }, { type: "langlog.checkpoint.written.v1", namespace: "", metadata: { step: 1 }, changed: { done: 4 }, bytes: 90 }];
  assert.equal(summary(event("checkpoint.steps", { steps })), "plan wrote done; step 1, changed done (90 B)");
  assert.equal(summary(event("run.created", null)), "sealed, or no longer in the log");
  assert.equal(summary(event("new.type", {})), "");
});

test("commands quote what could be anything", () => {
  assert.equal(command(event("run.created", {}), "t"), "langlog log show r1 --json");
  assert.equal(command(event("thread.created", {}, null), "a b'c"), "langlog log export --thread 'a b'\\''c' --type langlog.thread.created.v1");
});

test("events of one command have one cause", () => {
  assert.equal(causeKey(event("run.created", {})), "3-9");
});
