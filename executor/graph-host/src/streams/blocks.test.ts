import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../library.js";
import { MessageBlocks } from "./blocks.js";

function message(members: Partial<Message> & { content: unknown }): Message {
  return { type: "ai", toDict: () => ({ type: "ai", data: {} }), ...members };
}

function chunk(content: string, more: Partial<Message> = {}): Message {
  return message({ id: "m", content, concat: (other) => other, ...more });
}

test("chunks of a message are one block that grows", () => {
  const blocks = new MessageBlocks();
  const events = [...blocks.take([], chunk("one ")), ...blocks.take([], chunk("two")), ...blocks.finish().map(([, event]) => event)];
  assert.deepEqual(events, [
    { event: "message-start", role: "ai", id: "m" },
    { event: "content-block-start", index: 0, content: { type: "text", text: "" } },
    { event: "content-block-delta", index: 0, delta: { type: "text-delta", text: "one " } },
    { event: "content-block-delta", index: 0, delta: { type: "text-delta", text: "two" } },
    { event: "content-block-finish", index: 0, content: { type: "text", text: "one two" } },
    { event: "message-finish" },
  ]);
});

test("a tool call comes in pieces and is whole at its end", () => {
  const blocks = new MessageBlocks();
  const first = chunk("", { tool_call_chunks: [{ name: "add", id: "c", args: '{"a":', index: 0 }] });
  const second = chunk("", { tool_call_chunks: [{ args: "1}", index: 0 }] });
  blocks.take([], first);
  blocks.take([], second);
  const finished = blocks.finish().map(([, event]) => event)[0];
  assert.deepEqual(finished, { event: "content-block-finish", index: 0, content: { type: "tool_call", id: "c", name: "add", args: { a: 1 } } });
});

test("arguments that are no JSON make an invalid call", () => {
  const blocks = new MessageBlocks();
  blocks.take([], chunk("", { tool_call_chunks: [{ name: "add", id: "c", args: "{", index: 0 }] }));
  const [, finished] = blocks.finish()[0]!;
  assert.equal(finished["content"].type, "invalid_tool_call");
});

test("results of tools are no messages here", () => {
  assert.deepEqual(new MessageBlocks().take([], message({ type: "tool", content: "5" })), []);
});

test("a whole message begins and ends at once", () => {
  const events = new MessageBlocks().take(["child:1"], message({ id: "w", content: "hi", usage_metadata: { total_tokens: 3 } }));
  assert.deepEqual(events.map((event) => event["event"]), [
    "message-start",
    "content-block-start",
    "content-block-delta",
    "content-block-finish",
    "message-finish",
  ]);
  assert.deepEqual(events.at(-1), { event: "message-finish", usage: { total_tokens: 3 } });
});
