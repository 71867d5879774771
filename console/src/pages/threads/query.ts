// The filters of the list, as the address says them, and what they are for the API. Pure.
import type { Json, Metadata, Thread } from "../../api/types";

export const PAGE = 100;
export const EXTRACT = { first: "values.messages[0].content", last: "values.messages[-1].content" };
const SELECT = ["thread_id", "created_at", "updated_at", "metadata", "status", "interrupts", "error"];

/** How long ago a thread may have changed last: name in the address → hours. */
export const AGES: Record<string, number> = { "1h": 1, "24h": 24, "7d": 168, "30d": 720 };

/** Body of `POST /threads/search` and `/threads/count`. `now`: milliseconds since 1970. Raises an Error for an invalid filter. */
export function searchBody(filters: URLSearchParams, now: number): { [name: string]: Json } {
  const body: { [name: string]: Json } = {};
  for (const [filter, member] of [["status", "status"], ["graph", "graph_id"], ["assistant", "assistant_id"], ["id", "id_prefix"]] as const) {
    const value = filters.get(filter)?.trim();
    if (value) body[member] = value;
  }
  if (typeof body["id_prefix"] === "string" && !/^[0-9a-f-]{1,36}$/i.test(body["id_prefix"])) throw new Error("Id: the beginning of a thread's id, of 0-9, a-f and dashes");
  const age = filters.get("age") ?? "";
  const hours = Object.hasOwn(AGES, age) ? AGES[age] : undefined;
  if (hours !== undefined) body["updated_after"] = new Date(now - hours * 3_600_000).toISOString().replace("Z", "+00:00");
  const metadata = metadataOf(filters.get("metadata") ?? "");
  if (Object.keys(metadata).length > 0) body["metadata"] = metadata;
  return body;
}

/** `key=value, other=1`, or a JSON object. Values that are JSON are taken as such, others as text. */
export function metadataOf(text: string): Metadata {
  const trimmed = text.trim();
  if (trimmed === "") return {};
  if (trimmed.startsWith("{")) {
    let found: unknown;
    try {
      found = JSON.parse(trimmed);
    } catch {
      throw new Error("Metadata: not a JSON object");
    }
    return found as Metadata;
  }
  const metadata: Metadata = {};
  for (const pair of trimmed.split(",")) {
    const [name, ...rest] = pair.split("=");
    if (name === undefined || name.trim() === "" || rest.length === 0) throw new Error("Metadata: write key=value, or a JSON object");
    const value = rest.join("=").trim();
    try {
      metadata[name.trim()] = JSON.parse(value) as Json;
    } catch {
      metadata[name.trim()] = value;
    }
  }
  return metadata;
}

/** `after`: where the page before ended, as the server said it; null for the first page. */
export function pageBody(filters: URLSearchParams, now: number, after: string | null): { [name: string]: Json } {
  const order = filters.get("sort") === "created" ? "created_at" : "updated_at";
  const body = { ...searchBody(filters, now), select: SELECT, extract: EXTRACT, limit: PAGE, sort_by: order, sort_order: "desc" };
  return after === null ? body : { ...body, after };
}

/** Return the rows after changes: matching rows are sorted by their time; the others of `asked` no longer match. */
export function merged(rows: readonly Thread[], asked: ReadonlySet<string>, found: readonly Thread[], by: "created_at" | "updated_at"): Thread[] {
  const kept = rows.filter((row) => !asked.has(row.thread_id));
  return [...kept, ...found].sort((a, b) => (a[by] < b[by] ? 1 : a[by] > b[by] ? -1 : a.thread_id < b.thread_id ? 1 : -1));
}

/** The text of a message's content, which is a text or a list of blocks. */
export function textOf(content: Json | undefined): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((block) => (typeof block === "string" ? block : block !== null && typeof block === "object" && !Array.isArray(block) && typeof block["text"] === "string" ? block["text"] : "")).join(" ");
}
