import assert from "node:assert/strict";
import { test } from "node:test";
import { chunks, refusals, searchBody, type Outcome } from "./retry";

test("filters of the address are conditions of the search", () => {
  assert.deepEqual(searchBody(new URLSearchParams("status=failed&graph=flow"), 0), { status: ["error", "timeout"], graph_id: "flow" });
  assert.deepEqual(searchBody(new URLSearchParams("status=success&age=1h"), 3_600_000), { status: "success", created_after: "1970-01-01T00:00:00.000Z" });
  assert.deepEqual(searchBody(new URLSearchParams("age=constructor"), 0), {});
});

test("runs go in requests of so many", () => {
  assert.deepEqual(chunks([1, 2, 3, 4, 5], 2), [[1, 2], [3, 4], [5]]);
  assert.deepEqual(chunks([], 2), []);
});

test("refusals of one kind are counted together", () => {
  const refused = (detail: string): Outcome => ({ retried_run_id: "r", thread_id: null, status: "refused", code: 409, detail });
  const found = refusals([refused("thread 01a226ea-65dc-71be-a46e-6aa3239681d0 is busy"), { retried_run_id: "r", thread_id: "t", status: "created", run_id: "n" }, refused("thread 02a226ea-65dc-71be-a46e-6aa3239681d0 is busy"), refused("no")]);
  assert.deepEqual(found, [["thread … is busy", 2], ["no", 1]]);
});
