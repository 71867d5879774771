// Which texts are drawn as Markdown. Others are shown as they are: they have no marks, or would take too long. Pure.

/** Characters that are drawn as Markdown. */
const DRAWN_MOST = 40_000;
/** Pattern of a text with more than a plain paragraph. */
const MARKED = /[*_`#>|~[\]<&]|^\s*([-+]|\d+[.)])\s|https?:\/\//m;
/** Pattern of a line with 30 quotes or lists inside each other: each level is a call of the parser, and an element inside another. */
const DEEP = /^(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))){30}/m;
/** Marks of emphasis in one paragraph: the parser compares each with the others. */
const EMPHASES_MOST = 2_000;

export function isDrawn(text: string): boolean {
  if (text.length > DRAWN_MOST || !MARKED.test(text) || DEEP.test(text)) return false;
  return text.split(/\n[ \t]*\n/).every((paragraph) => paragraph.length <= EMPHASES_MOST || (paragraph.match(/[*_~]/g)?.length ?? 0) <= EMPHASES_MOST);
}
