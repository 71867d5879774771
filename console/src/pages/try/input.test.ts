import assert from "node:assert/strict";
import { test } from "node:test";
import { isText, messageOf, talks, withLast } from "./input";

test("a graph with messages is talked to", () => {
  assert.equal(talks({ properties: { messages: { type: "array" } } }), true);
  assert.equal(talks({ properties: { items: {} } }), false);
  assert.equal(talks(null), false);
});

test("text alone is text; attachments are content blocks", () => {
  assert.deepEqual(messageOf("hi", []), { role: "user", content: "hi" });
  const image = { name: "a.png", type: "image/png", data: "AA==", text: false };
  assert.deepEqual(messageOf("", [image, { name: "b.md", type: "", data: "# b", text: true }]), { role: "user", content: [{ type: "image", base64: "AA==", mime_type: "image/png" }, { type: "text", text: "b.md:\n# b" }] });
});

test("what is text is read as text", () => {
  assert.equal(isText("", "notes.md"), true);
  assert.equal(isText("application/pdf", "a.pdf"), false);
});

test("raw events are kept by number and by size, the last one always", () => {
  const sized = (size: number) => ({ size });
  const small = Array.from({ length: 1_500 }, () => sized(1)).reduce(withLast, [] as { size: number }[]);
  assert.equal(small.length, 1_000);
  assert.deepEqual(withLast([sized(3_000_000), sized(2_000_000)], sized(1_500_000)), [sized(2_000_000), sized(1_500_000)]);
  assert.deepEqual(withLast(small, sized(9_000_000)), [sized(9_000_000)]);
});
