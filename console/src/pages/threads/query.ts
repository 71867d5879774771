// The filters of the list, as the address says them, and what they are for the API. Pure.
import type { Json, Metadata, Thread } from "../../api/types";

export const PAGE = 100;
export const EXTRACT = { first: "values.messages[0].content", last: "values.messages[-1].content" };
const SELECT = ["thread_id", "created_at", "updated_at", "metadata", "status", "interrupts"];

/** What `POST /threads/search` and `/threads/count` are asked for. Raises an Error that says what is wrong with a filter. */
export function searchBody(filters: URLSearchParams): { [name: string]: Json } {
  const body: { [name: string]: Json } = {};
  const status = filters.get("status");
  if (status) body["status"] = status;
  const metadata: Metadata = { ...metadataOf(filters.get("metadata") ?? "") };
  const graph = filters.get("graph");
  if (graph) metadata["graph_id"] = graph;
  const assistant = filters.get("assistant");
  if (assistant) metadata["assistant_id"] = assistant;
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

export function pageBody(filters: URLSearchParams, offset: number): { [name: string]: Json } {
  const order = filters.get("sort") === "created" ? "created_at" : "updated_at";
  return { ...searchBody(filters), select: SELECT, extract: EXTRACT, limit: PAGE, offset, sort_by: order, sort_order: "desc" };
}

/** The rows after some have changed: found anew, they stand where their time places them; the others of `asked` do not fit any more. */
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
