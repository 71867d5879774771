// Running many failed runs again: which of them can be, in requests of what one may hold. Pure.
import type { Json, Run } from "../../api/types";

export const FAILED = ["error", "timeout", "interrupted"] as const;
/** Runs in one request. The API takes 1,000; fewer show sooner how it goes. */
export const AT_ONCE = 200;
/** Runs that one press of the button runs again, at most. */
export const RETRIED_MOST = 5_000;

export interface Outcome {
  retried_run_id: string;
  thread_id: string | null;
  status: "created" | "refused";
  run_id?: string;
  code?: number;
  detail?: string;
}

export const canBeRetried = (run: Run): boolean => (FAILED as readonly string[]).includes(run.status);

/** Body of `POST /runs/search` for the filters of the address. `now`: milliseconds since 1970. */
export function searchBody(filters: URLSearchParams, now: number): { [name: string]: Json } {
  const body: { [name: string]: Json } = {};
  const status = filters.get("status");
  if (status === "failed") body["status"] = ["error", "timeout"];
  else if (status === "moving") body["status"] = ["pending", "running"];
  else if (status) body["status"] = status;
  for (const [filter, member] of [["graph", "graph_id"], ["assistant", "assistant_id"]] as const) {
    const value = filters.get(filter);
    if (value) body[member] = value;
  }
  const age = filters.get("age") ?? "";
  const hours = Object.hasOwn(HOURS, age) ? HOURS[age] : undefined;
  if (hours !== undefined) body["created_after"] = new Date(now - hours * 3_600_000).toISOString();
  return body;
}

export const HOURS: Record<string, number> = { "1h": 1, "24h": 24, "7d": 168 };

export function chunks<T>(all: readonly T[], most: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / most) }, (_, n) => all.slice(n * most, (n + 1) * most));
}

/** Refusals in words, each with how many it befell: the most frequent first. Ids within are left out, so that alike ones meet. */
export function refusals(outcomes: readonly Outcome[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { status, detail, code } of outcomes) {
    if (status !== "refused") continue;
    const words = (detail ?? `status ${code ?? "?"}`).replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "…");
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}
