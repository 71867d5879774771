// How often each node ran, how long, and whether it failed, from the bars of runs. Pure.
import type { Timeline } from "../run/timeline";

export interface NodeStats {
  count: number;
  failures: number;
  running: number;
  waits: number;
  /** Milliseconds of each time that it ended, in order of size. */
  durations: number[];
}

const NODES = new Set(["node", "bad", "wait"]);

/** The id that a node has in the drawing: the nodes that its namespace leads through, then its name. */
export function nodeId(namespace: string, name: string): string {
  const outer = namespace === "" ? [] : namespace.split("|").map((step) => step.split(":")[0] ?? step);
  return [...outer, name].join(":");
}

export function statsOf(timelines: readonly (Timeline | null)[]): Map<string, NodeStats> {
  const found = new Map<string, NodeStats>();
  for (const timeline of timelines) {
    for (const bar of timeline?.bars ?? []) {
      if (!NODES.has(bar.tone)) continue;
      const id = nodeId(bar.checkpoint?.namespace ?? "", bar.label);
      const stats = found.get(id) ?? { count: 0, failures: 0, running: 0, waits: 0, durations: [] };
      found.set(id, stats);
      stats.count += 1;
      if (bar.tone === "bad") stats.failures += 1;
      if (bar.tone === "wait") stats.waits += 1;
      if (bar.end === null && timeline?.end === null) stats.running += 1;
      else if (bar.end !== null) stats.durations.push(bar.end - bar.start);
    }
  }
  for (const stats of found.values()) stats.durations.sort((a, b) => a - b);
  return found;
}

/** The middle duration; null without one. */
export const middle = (stats: NodeStats): number | null => stats.durations[Math.floor((stats.durations.length - 1) / 2)] ?? null;
