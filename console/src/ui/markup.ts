// Which texts are drawn as Markdown. Others are shown as they are: they have no marks, or would take too long. Pure.
import type { TokenizerExtension } from "marked";

/** Characters that are drawn as Markdown. */
const DRAWN_MOST = 40_000;
/** Pattern of a text with more than a plain paragraph. */
const MARKED = /[*_`#>|~[\]<&]|^[ \t]*([-+]|\d+[.)])\s|https?:\/\//m;
/** Pattern of a line with 30 quotes or lists inside each other: each level is a call of the parser, and an element inside another. */
const DEEP = /^(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))){30}/m;
/** Characters that the parser may look at: in each step, all that is left of a paragraph, or of the text. 40,000 `!` would be 800 million. */
const LOOKS_MOST = 30_000_000;
/** Pattern of a step at a mark of emphasis, and how often the parser looks at the rest there: it compares the mark with all others. */
const EMPHASIS = /^[*_~]/;
const EMPHASIS_LOOKS = 10;
/** Pattern of a run of spaces from each of which the parser looks for the line's end, in one step. */
const BLANKS = /[ \t]{1000}/;

/** The parser would take too long. */
export class Costly extends Error {}

/** Whether a text has marks that Markdown draws. */
export function isMarked(text: string): boolean {
  return MARKED.test(text.slice(0, DRAWN_MOST));
}

/** Why a text is not even parsed; null: it is. */
export function whyUnparsed(text: string): string | null {
  if (text.length > DRAWN_MOST) return `it has more than ${DRAWN_MOST.toLocaleString("en")} characters`;
  if (DEEP.test(text)) return "its quotes or lists are nested too deep";
  if (BLANKS.test(text)) return "it has a run of a thousand spaces";
  return null;
}

/** Why a text was not drawn, after the parser's error. */
export function whyUndrawn(error: unknown): string {
  return error instanceof Costly ? "it has too many signs in one paragraph, or too many paragraphs" : "the parser cannot follow it";
}

/** Extensions of a parser for one text: they read nothing, but count what it looks at, and throw `Costly` beyond the bound. */
export function counted(): TokenizerExtension[] {
  let looks = 0;
  const look = (count: number): undefined => {
    looks += count;
    if (looks > LOOKS_MOST) throw new Costly();
  };
  return [
    { name: "counted blocks", level: "block", tokenizer: (rest) => look(rest.length) },
    { name: "counted signs", level: "inline", tokenizer: (rest) => look(rest.length * (EMPHASIS.test(rest) ? EMPHASIS_LOOKS : 1)) },
  ];
}
