import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuditEvent, Json, Run } from "../../api/types";
import { answerOf, resumedAt } from "./answers";

const run = (command: Json): Run => ({ run_id: "r", thread_id: "t", assistant_id: "a", created_at: "", updated_at: "", status: "success", metadata: {}, kwargs: { command } });
const event = (type: string, data: { [name: string]: Json }): AuditEvent => ({ id: null, type: `langlog.${type}.v1`, time: null, subject: "t", run_id: "r", source: null, actor: null, cause: null, position: { topic: "run-events", partition: 0, offset: 0 }, data });

test("a run with a command that resumes is an answer, also where it is false", () => {
  assert.equal(answerOf(run(null)), undefined);
  assert.equal(answerOf(run({ goto: "x" })), undefined);
  assert.equal(answerOf(run({ resume: "yes" })), "yes");
  assert.equal(answerOf(run({ resume: false })), false);
  assert.equal(answerOf(run({ resume: { "0123456789abcdef0123456789abcdef": false } })), false);
  assert.deepEqual(answerOf(run({ resume: { amount: 3 } })), { amount: 3 });
});

test("the checkpoint that was resumed is the one that the answer was written to", () => {
  const write = (channel: string, namespace = ""): { [name: string]: Json } => ({ namespace, checkpoint_id: `of ${channel}`, writes: [{ channel, bytes: 1 }] });
  assert.equal(resumedAt([event("run.created", {}), event("checkpoint.writes", write("x"))]), null);
  assert.equal(resumedAt([event("checkpoint.writes", write("__resume__"))]), "of __resume__");
  assert.equal(resumedAt([event("checkpoint.steps", { steps: [write("__resume__", "sub:1"), write("x"), write("__resume__")] })]), "of __resume__");
});
