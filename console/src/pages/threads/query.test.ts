import assert from "node:assert/strict";
import { test } from "node:test";
import type { Thread } from "../../api/types";
import { merged, metadataOf, searchBody, textOf } from "./query";

test("filters of the address become a search", () => {
  const filters = new URLSearchParams("status=error&graph=chat&metadata=user%3Dada,level%3D2");
  assert.deepEqual(searchBody(filters), { status: "error", metadata: { user: "ada", level: 2, graph_id: "chat" } });
});

test("metadata is JSON or pairs, and anything else is refused with a reason", () => {
  assert.deepEqual(metadataOf('{"a": [1]}'), { a: [1] });
  assert.deepEqual(metadataOf("a=b=c"), { a: "b=c" });
  assert.throws(() => metadataOf("words"), /key=value/);
  assert.throws(() => metadataOf("{a"), /JSON/);
});

test("a changed thread moves to its place, and one that does not fit any more goes", () => {
  const row = (id: string, at: string) => ({ thread_id: id, updated_at: at }) as Thread;
  const rows = [row("c", "3"), row("b", "2"), row("a", "1")];
  assert.deepEqual(merged(rows, new Set(["a", "b"]), [row("a", "4")], "updated_at").map((r) => r.thread_id), ["a", "c"]);
});

test("content of blocks is read as text", () => {
  assert.equal(textOf([{ type: "text", text: "a" }, { type: "image" }, "b"]), "a  b");
  assert.equal(textOf(null), "");
});
