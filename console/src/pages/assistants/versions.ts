// Differences of two JSON values, member by member. Pure, and linear in their size.
import type { Json } from "../../api/types";

export interface Difference {
  path: string;
  /** JSON, cut when long; null: there is nothing. */
  before: string | null;
  after: string | null;
}

const SHOWN = 2_000;
const MOST = 1_000;

export function differences(before: Json | undefined, after: Json | undefined, path = "", found: Difference[] = []): Difference[] {
  if (found.length >= MOST || before === after) return found;
  const both = [before, after];
  if (both.every((one) => typeof one === "object" && one !== null) && Array.isArray(before) === Array.isArray(after)) {
    const [a, b] = both as [{ [name: string]: Json }, { [name: string]: Json }];
    for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) differences(a[name], b[name], path === "" ? name : `${path}.${name}`, found);
    return found;
  }
  found.push({ path: path || "(value)", before: text(before), after: text(after) });
  return found;
}

const text = (value: Json | undefined): string | null => (value === undefined ? null : JSON.stringify(value).slice(0, SHOWN));
