// Namespaces as a tree, and the filter as a person writes it. Pure.
import type { Json } from "../../api/types";

export interface Branch {
  label: string;
  path: string[];
  /** Items may be in this namespace itself. */
  here: boolean;
  branches: Branch[];
}

export function treeOf(namespaces: string[][]): Branch[] {
  const roots: Branch[] = [];
  for (const namespace of namespaces) {
    let level = roots;
    namespace.forEach((label, depth) => {
      let branch = level.find((one) => one.label === label);
      if (branch === undefined) {
        branch = { label, path: namespace.slice(0, depth + 1), here: false, branches: [] };
        level.push(branch);
      }
      if (depth === namespace.length - 1) branch.here = true;
      level = branch.branches;
    });
  }
  return roots;
}

/** `name=value, other=3` or a JSON object. Throws for anything else. */
export function filterOf(text: string): { [name: string]: Json } | null {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  if (trimmed.startsWith("{")) {
    try {
      return JSON.parse(trimmed) as { [name: string]: Json };
    } catch {
      throw new Error("The filter is no JSON object");
    }
  }
  return Object.fromEntries(
    trimmed.split(",").map((part) => {
      const [name, ...rest] = part.split("=");
      if (rest.length === 0 || !name?.trim()) throw new Error("Write name=value, or a JSON object");
      const value = rest.join("=").trim();
      return [name.trim(), /^(-?\d+(\.\d+)?|true|false|null)$/.test(value) ? (JSON.parse(value) as Json) : value];
    }),
  );
}
