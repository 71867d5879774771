import assert from "node:assert/strict";
import { test } from "node:test";
import { Marked } from "marked";
import { Costly, counted, isMarked, whyUndrawn, whyUnparsed } from "./markup";

/** Why a text is not drawn, as `ui/markdown` finds it out; null: it is. */
function why(text: string): string | null {
  const unparsed = whyUnparsed(text);
  if (unparsed !== null) return unparsed;
  try {
    new Marked({ gfm: true, breaks: true, async: false, extensions: counted() }).parse(text);
    return null;
  } catch (error) {
    return whyUndrawn(error);
  }
}

test("texts with marks are drawn, plain and long ones are not", () => {
  for (const text of ["**bold**", "- one\n- two", "1. one", "see https://example.org", "> > > a\n\n---\n\n| a | b |\n| ---------------------------------- | - |", "-".repeat(200) + "\n*".repeat(500)]) {
    assert.equal(isMarked(text), true, text);
    assert.equal(why(text), null, text);
  }
  for (const text of ["", "a plain text", "3.5 of 7", "\n".repeat(40_000)]) assert.equal(isMarked(text), false, text.slice(0, 20));
  assert.equal(why("*".repeat(40_001)), "it has more than 40,000 characters");
});

test("what would exhaust the parser is not drawn", () => {
  for (const piece of [">", "> ", "- ", "* ", "> - ", "1. ", "  > "]) assert.equal(why(`a text\n${piece.repeat(5_000)} a`), "its quotes or lists are nested too deep", piece);
  for (const piece of ["!", "[", "![", "a!", "[a](", "<", "`` ` ", "a*", "a ~", "_a ", "*_a", "a|b\n-|-|-\n"]) assert.equal(why(`a ${piece.repeat(39_990 / piece.length)}`), whyUndrawn(new Costly()), piece);
  for (const start of ["`", "<a ", "![", "a"]) assert.equal(why(`${start}${" ".repeat(39_000)}b`), "it has a run of a thousand spaces", start);
});

test("what costs little is drawn, however long", () => {
  const line = "- a [link](https://example.org/a_b) and `code`, *so* (1) & <b>!\n";
  for (const text of [line.repeat(600), `${line}\n`.repeat(600), `\`\`\`\n${"!![_*<".repeat(6_000)}\n\`\`\``, `| a | b |\n|---|---|\n${"| [x](y) | **z**! |\n".repeat(1_900)}`, "A sentence, with commas. ".repeat(1_500), "**A short paragraph**, and\n\n".repeat(900)]) assert.equal(why(text), null, text.slice(0, 40));
});

test("the parser can take what is drawn", () => {
  const marked = new Marked({ gfm: true, breaks: true, async: false });
  for (const text of [`${"> ".repeat(29)}a`, `${"- ".repeat(29)}a`, `${"*".repeat(1_000)}a${"*".repeat(1_000)}`]) {
    assert.equal(why(text), null);
    assert.match(marked.parse(text) as string, /a/);
  }
});
