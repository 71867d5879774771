import assert from "node:assert/strict";
import { test } from "node:test";
import type { State, Task } from "../../api/types";
import { runningOf } from "./running";

const task = (name: string, more: Partial<Task> = {}): Task => ({ id: `${name}-task`, name, interrupts: [], result: null, error: null, ...more });
const state = (namespace: string, checkpoint: string, tasks: Task[]): State => ({
  values: {}, next: [], tasks, metadata: null, created_at: null, parent_checkpoint: null,
  checkpoint: { thread_id: "t", checkpoint_ns: namespace, checkpoint_id: checkpoint },
});

test("tasks that have not ended are running, inside subgraphs too", () => {
  const inner = state("work:w", "c2", [task("add"), task("done", { result: { x: 1 } })]);
  const found = runningOf(state("", "c1", [task("work", { state: inner }), task("asks", { interrupts: [{ id: "i", value: 1 }] }), task("fails", { error: "no" })]));
  assert.deepEqual(found, [
    { namespace: "", checkpoint: "c1", node: "work", task: "work-task" },
    { namespace: "work:w", checkpoint: "c2", node: "add", task: "add-task" },
  ]);
});

test("a subgraph that holds itself ends somewhere", () => {
  const endless = state("", "c", []);
  endless.tasks.push(task("again", { state: endless }));
  assert.ok(runningOf(endless).length < 100);
});
