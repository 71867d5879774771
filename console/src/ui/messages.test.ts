import assert from "node:assert/strict";
import { test } from "node:test";
import { conversationOf, messageOf } from "./messages";

test("text, reasoning, pictures and tool calls of any provider are told apart", () => {
  const message = messageOf({
    type: "ai", id: "1",
    content: [
      { type: "thinking", thinking: "hm" }, { type: "text", text: "yes" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
      { type: "image_url", image_url: { url: "https://example.org/a.png" } },
    ],
    tool_calls: [{ id: "c", name: "f", args: { a: 1 } }],
  });
  assert.deepEqual(message.parts.map((part) => part.kind), ["reasoning", "text", "image", "other", "tool-call"]);
});

test("a picture is only what a picture's address may be", () => {
  for (const url of ["javascript:alert(1)", "data:text/html;base64,AAAA", "data:image/svg+xml;base64,AAAA", "http://x/y.png"]) {
    assert.equal(messageOf({ type: "human", content: [{ type: "image_url", image_url: { url } }] }).parts[0]?.kind, "other");
  }
});

test("the conversation is found in whichever channel holds it, and lists of other things are none", () => {
  assert.equal(conversationOf({ log: ["a"], talk: [{ role: "user", content: "x" }] })?.channel, "talk");
  assert.equal(conversationOf({ log: ["a"], empty: [] }), null);
  assert.equal(conversationOf(null), null);
});

test("messages without any shape are still messages", () => {
  const message = messageOf({ type: "zzz", content: 5, tool_calls: "no" });
  assert.equal(message.role, "other");
  assert.deepEqual(message.parts, [{ kind: "other", value: 5 }]);
});
