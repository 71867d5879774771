// Changes between two states, as a list of paths. Pure; the delta is jsondiffpatch's.
import type { Json } from "../../api/types";
import { isFields } from "../../ui/messages";

export type Change =
  | { path: string; kind: "added"; after: Json }
  | { path: string; kind: "removed"; before: Json }
  | { path: string; kind: "changed"; before: Json; after: Json }
  | { path: string; kind: "moved"; from: string };

/** The places of a delta, in the order in which it names them. */
export function changesOf(delta: unknown, path = ""): Change[] {
  if (delta === undefined || delta === null) return [];
  if (Array.isArray(delta)) {
    if (delta.length === 1) return [{ path, kind: "added", after: delta[0] as Json }];
    if (delta.length === 2) return [{ path, kind: "changed", before: delta[0] as Json, after: delta[1] as Json }];
    if (delta[2] === 3) return [{ path, kind: "moved", from: path }];
    return [{ path, kind: "removed", before: delta[0] as Json }];
  }
  if (typeof delta !== "object") return [];
  const inner = delta as Record<string, unknown>;
  if (inner["_t"] !== "a") return Object.entries(inner).flatMap(([key, one]) => changesOf(one, path === "" ? key : `${path}.${key}`));
  return Object.entries(inner).flatMap(([key, one]) => {
    if (key === "_t") return [];
    if (!key.startsWith("_")) return changesOf(one, `${path}[${key}]`);
    const from = `${path}[${key.slice(1)}]`;
    if (Array.isArray(one) && one[2] === 3) return [{ path: `${path}[${String(one[1])}]`, kind: "moved" as const, from }];
    return changesOf(one, from);
  });
}

/** Identity of elements in two lists: messages and similar objects by their id. */
export function identityOf(item: unknown, index: number | undefined): string {
  const fields = item as Json;
  if (isFields(fields)) {
    for (const name of ["id", "interrupt_id", "key", "name"]) if (typeof fields[name] === "string") return `${name}:${fields[name]}`;
  }
  return `#${index ?? 0}`;
}

export interface Size {
  channel: string;
  before: number | null;
  after: number | null;
}

/** Bytes of each channel as JSON; null where it is not there. Those that changed most come first. */
export function sizesOf(before: { [channel: string]: Json }, after: { [channel: string]: Json }): Size[] {
  const size = (value: Json | undefined): number | null => (value === undefined ? null : new TextEncoder().encode(JSON.stringify(value)).length);
  const sizes = [...new Set([...Object.keys(before), ...Object.keys(after)])].map((channel) => ({ channel, before: size(before[channel]), after: size(after[channel]) }));
  const grown = (one: Size): number => Math.abs((one.after ?? 0) - (one.before ?? 0));
  return sizes.sort((a, b) => grown(b) - grown(a) || (a.channel < b.channel ? -1 : 1));
}
