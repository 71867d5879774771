import assert from "node:assert/strict";
import { test } from "node:test";
import { Marked } from "marked";
import { isDrawn } from "./markup";

test("texts with marks are drawn, plain and long ones are not", () => {
  for (const text of ["**bold**", "- one\n- two", "1. one", "see https://example.org", "> > > a\n\n---\n\n| a | b |\n| ---------------------------------- | - |", "-".repeat(200) + "\n*".repeat(500)]) assert.equal(isDrawn(text), true, text);
  for (const text of ["", "a plain text", "3.5 of 7", "*".repeat(40_001)]) assert.equal(isDrawn(text), false, text);
});

test("what would exhaust the parser is not drawn", () => {
  for (const piece of [">", "> ", "- ", "* ", "> - ", "1. ", "  > "]) assert.equal(isDrawn(`a text\n${piece.repeat(5_000)} a`), false, piece);
  for (const text of ["a*".repeat(19_000), `${"*".repeat(19_000)}a${"*".repeat(19_000)}`, "~".repeat(3_000)]) assert.equal(isDrawn(text), false);
});

test("the parser can take what is drawn", () => {
  const marked = new Marked({ gfm: true, breaks: true, async: false });
  for (const text of [`${"> ".repeat(29)}a`, `${"- ".repeat(29)}a`, `${"*".repeat(1_000)}a${"*".repeat(1_000)}`]) {
    assert.equal(isDrawn(text), true);
    assert.match(marked.parse(text) as string, /a/);
  }
});
