// Checkpoints as a tree: which column each one stands in, and which lines pass it. Pure.

export interface Placed<T> {
  item: T;
  /** Column of the checkpoint itself. */
  column: number;
  /** Lines through the row, from a column at its top to one at its bottom. */
  lines: { from: number; to: number }[];
  /** A line comes from above: something was made from it. */
  hasChild: boolean;
  /** Its parent is further down. */
  hasParent: boolean;
}

/** `items`: newest first, so that each comes before its parent. */
export function placed<T>(items: readonly T[], idOf: (item: T) => string, parentOf: (item: T) => string | null): Placed<T>[] {
  const known = new Set(items.map(idOf));
  /** Column → the id that its line leads to; undefined where the column is free. */
  const waiting: (string | undefined)[] = [];
  const rows: Placed<T>[] = [];
  for (const item of items) {
    const id = idOf(item);
    const parent = parentOf(item);
    const lines: { from: number; to: number }[] = [];
    let column = waiting.indexOf(id);
    const hasChild = column >= 0;
    if (column < 0) column = free(waiting);
    const before = [...waiting];
    for (const [at, wanted] of before.entries()) {
      if (wanted === undefined) continue;
      lines.push({ from: at, to: wanted === id ? column : at });
      if (wanted === id) waiting[at] = undefined;
    }
    const hasParent = parent !== null && known.has(parent);
    waiting[column] = hasParent ? parent : undefined;
    while (waiting.length > 0 && waiting.at(-1) === undefined) waiting.pop();
    rows.push({ item, column, lines, hasChild, hasParent });
  }
  return rows;
}

function free(waiting: readonly (string | undefined)[]): number {
  const at = waiting.indexOf(undefined);
  return at < 0 ? waiting.length : at;
}

/** From a checkpoint back to the first, itself included: the branch that it ends. */
export function branchOf<T>(items: readonly T[], id: string, idOf: (item: T) => string, parentOf: (item: T) => string | null): Set<string> {
  const byId = new Map(items.map((item) => [idOf(item), item]));
  const branch = new Set<string>();
  for (let at: string | null = id; at !== null && !branch.has(at); ) {
    branch.add(at);
    const item: T | undefined = byId.get(at);
    at = item === undefined ? null : parentOf(item);
  }
  return branch;
}
