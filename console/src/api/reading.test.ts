import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, errorOf, isFinal, isPassing } from "./error";
import { Reading, type Read } from "./reading";

/** A read that the test settles, and the signal that it was given. */
function held(): { read: Read; begun: AbortSignal[]; settle: (error?: Error) => Promise<void> } {
  const begun: AbortSignal[] = [];
  const settles: ((error?: Error) => void)[] = [];
  return {
    begun,
    read: (signal) => {
      begun.push(signal);
      return new Promise((done, failed) => settles.push((error) => (error === undefined ? done() : failed(error))));
    },
    settle: async (error) => {
      settles.shift()?.(error);
      await new Promise((turn) => setImmediate(turn));
    },
  };
}

test("changes during a read do not break it off: it is read once more when it has settled", async () => {
  const { read, begun, settle } = held();
  const reading = new Reading(assert.fail);
  for (let n = 0; n < 5; n += 1) reading.again(read);
  assert.deepEqual(begun.map((signal) => signal.aborted), [false]);
  await settle();
  assert.equal(begun.length, 2);
  await settle();
  assert.equal(begun.length, 2);
  assert.equal(reading.busy, false);
});

test("another subject breaks the read off, and none follows", async () => {
  const { read, begun, settle } = held();
  const reading = new Reading(assert.fail);
  reading.again(read);
  reading.again(read);
  reading.close();
  await settle(new Error("aborted"));
  reading.again(read);
  assert.deepEqual(begun.map((signal) => signal.aborted), [true]);
});

test("a refusal for now is followed by a pause, an error by the read that was asked for meanwhile", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { read, begun, settle } = held();
  const errors: string[] = [];
  const reading = new Reading((error) => errors.push(error.message));
  reading.again(read);
  reading.again(read);
  await settle(new ApiError(503, "not yet"));
  assert.equal(begun.length, 1);
  t.mock.timers.tick(1_000);
  assert.equal(begun.length, 2);
  reading.again(read);
  await settle(new ApiError(500, "wrong"));
  assert.equal(begun.length, 3);
  assert.deepEqual(errors, ["not yet", "wrong"]);
});

test("the error that ends a stream has the status of its text", () => {
  assert.deepEqual([errorOf('{"error":"HTTPException","message":"401: expired"}')].map((error) => [error.status, error.detail]), [[401, "expired"]]);
  for (const data of ["", "null", "{", '{"message":7}', '{"message":"too slow"}']) assert.equal(errorOf(data).status, 500);
  assert.deepEqual([404, 408, 429, 503].map((status) => [isFinal(new ApiError(status, "")), isPassing(new ApiError(status, ""))]), [[true, false], [false, false], [false, true], [false, true]]);
});
