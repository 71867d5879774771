import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { encoded, Messages, type ToWorker } from "./protocol.js";

interface Vector {
  name: string;
  message: unknown;
  frame: string;
}
const VECTORS = new URL("../../../tests/js/protocol_vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(VECTORS, "utf8")) as { to_host: Vector[]; to_worker: Vector[] };

/** Bytes stand as `{"bytes": hex}` in the vectors. */
function withBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBytes);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value);
  if (members.length === 1 && members[0]![0] === "bytes") return Buffer.from(members[0]![1] as string, "hex");
  return Object.fromEntries(members.map(([name, each]) => [name, withBytes(each)]));
}

for (const { name, message, frame } of vectors.to_host) {
  test(`the worker's message is read as written down: ${name}`, () => {
    assert.deepEqual(new Messages().take(Buffer.from(frame, "hex")), [withBytes(message)]);
  });
}

for (const { name, message, frame } of vectors.to_worker) {
  test(`the host's message stands on the socket as written down: ${name}`, () => {
    // members of the vectors stand in the order in which the host writes them
    const made = encoded(withBytes(message) as ToWorker);
    assert.deepEqual(new Messages<ToWorker>().take(Buffer.from(made)), [withBytes(message)]);
    assert.equal(Buffer.from(made).toString("hex").length, frame.length);
  });
}

test("pieces of any size make the same messages", () => {
  const frames = Buffer.concat(vectors.to_host.map(({ frame }) => Buffer.from(frame, "hex")));
  const whole = new Messages().take(frames);
  for (const size of [1, 3, 7, 100]) {
    const messages = new Messages();
    const found = [];
    for (let at = 0; at < frames.length; at += size) found.push(...messages.take(frames.subarray(at, at + size)));
    assert.deepEqual(found, whole);
  }
});

test("a length that no message has is an error", () => {
  assert.throws(() => new Messages().take(Buffer.from([255, 255, 255, 255])), /a message of 4294967295 bytes/);
});
