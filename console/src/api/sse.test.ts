import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { SseParser } from "./sse";

const STREAM = ": heartbeat\r\n\r\nevent: changes\r\ndata: {\"a\":1}\r\nid: 7\r\n\r\ndata: one\r\ndata: two\r\n\r\n";
const EVENTS = [
  { event: "changes", data: '{"a":1}', id: "7" },
  { event: "message", data: "one\ntwo", id: "7" },
];

test("events come out the same wherever the bytes are cut", () => {
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    const parser = new SseParser();
    assert.deepEqual([...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))], EVENTS, `cut at ${cut}`);
  }
});

test("lines may end in LF, and an unfinished event is kept back", () => {
  const parser = new SseParser("3");
  assert.deepEqual(parser.push("data: x\n"), []);
  assert.deepEqual(parser.push("\n"), [{ event: "message", data: "x", id: "3" }]);
});

test("an id with a NUL is ignored, and the wanted pause is kept", () => {
  const parser = new SseParser("1");
  assert.deepEqual(parser.push("id: a\0b\nretry: 500\ndata:y\n\n"), [{ event: "message", data: "y", id: "1" }]);
  assert.equal(parser.retry, 500);
});

test("lines may end in CR, and a CR and an LF that arrive apart are one end", () => {
  const parser = new SseParser();
  const parts = ["data: a\r", "data: b\r", "\n", "", "data: c\r", "", "\n\r", "\n"];
  assert.deepEqual(parts.flatMap((part) => parser.push(part)), [{ event: "message", data: "a\nb\nc", id: "" }]);
});

test("an event of many parts is looked through once", { timeout: 30_000 }, async () => {
  const parser = new SseParser();
  const [part, parts] = ["x".repeat(2_000), 32_000];
  parser.push("data: ");
  for (let n = 0; n < parts; n += 1) {
    parser.push(part);
    if (n % 100 === 0) await turn(); // lets the limit above end it
  }
  assert.deepEqual(parser.push("\n\n").map(({ data }) => data.length), [part.length * parts]);
});
