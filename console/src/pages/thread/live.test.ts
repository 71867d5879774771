import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json } from "../../api/types";
import { heard, withWriting, type Writing } from "./live";

const none: Writing = new Map();

test("pieces of a message are put together, texts and blocks", () => {
  const pieces: Json[] = ["a", "b"].map((content): Json => [{ id: "1", type: "AIMessageChunk", content }, null]);
  const both = pieces.reduce<Writing>((writing, piece) => heard(writing, "messages", piece), none);
  assert.equal((both.get("1") as { content: string }).content, "ab");
  const blocks: Json[] = ["x", "y"].map((text): Json => [{ id: "2", content: [{ type: "text", text, index: 0 }] }, null]);
  const two = blocks.reduce<Writing>((writing, piece) => heard(writing, "messages", piece), none);
  assert.deepEqual((two.get("2") as { content: Json }).content, [{ type: "text", text: "xy", index: 0 }]);
});

test("what the state holds already is not shown twice, and other events change nothing", () => {
  const writing = heard(none, "messages/partial", [{ id: "1", content: "a" }]);
  assert.deepEqual(withWriting([{ id: "1", content: "all" }], writing), [{ id: "1", content: "all" }]);
  assert.equal(heard(writing, "updates", {}), writing);
  assert.equal(heard(writing, "messages", "junk"), writing);
});
