import assert from "node:assert/strict";
import { test } from "node:test";
import { find, match } from "./match";

test("a path that fits gives its parameters, decoded", () => {
  assert.deepEqual(match("threads/:thread/runs/:run", "threads/a%20b/runs/c"), { thread: "a b", run: "c" });
});

test("a path of another length, with other words or with a broken escape fits nothing", () => {
  assert.equal(match("threads/:thread", "threads"), null);
  assert.equal(match("threads/:thread", "runs/a"), null);
  assert.equal(match("threads/:thread", "threads/%zz"), null);
  assert.equal(match("threads/:thread", "threads/"), null);
});

test("a page with a fixed path comes before one with a parameter", () => {
  const pages = [{ path: "threads/:thread" }, { path: "threads/new" }];
  assert.equal(find(pages, "threads/new")?.page.path, "threads/new");
});
