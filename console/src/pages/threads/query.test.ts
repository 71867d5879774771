import assert from "node:assert/strict";
import { test } from "node:test";
import type { Thread } from "../../api/types";
import { merged, metadataOf, searchBody, textOf } from "./query";

test("filters of the address become a search", () => {
  const filters = new URLSearchParams("status=error&graph=chat&id=01a2&age=1h&metadata=user%3Dada,level%3D2");
  assert.deepEqual(searchBody(filters, Date.parse("2026-01-01T01:00:00Z")), {
    status: "error", graph_id: "chat", id_prefix: "01a2", updated_after: "2026-01-01T00:00:00.000+00:00", metadata: { user: "ada", level: 2 },
  });
  assert.throws(() => searchBody(new URLSearchParams("id=words"), 0), /Id/);
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
