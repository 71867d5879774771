// Filters of the log's records as the address has them, and rows that stay bounded while the log grows. Pure.
import { originOf, type LogRecord } from "../../api/operator";

export const TOPICS = ["commands", "run-events", "assistant-events", "cron-events", "store-events", "graph-events", "dead-letters"];
/** Rows that are kept: a tail may run for days. */
export const ROWS_KEPT = 5_000;

export interface Query {
  topic?: string;
  key?: string;
  type?: string;
  from?: string;
  to?: string;
}

const AGO: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** A time of the address: ISO 8601, or how long ago (`15m`, `2h`, `1d`). Throws for anything else. */
export function moment(text: string, now: number): string {
  const ago = /^(\d{1,6})([smhdw])$/.exec(text);
  if (ago) return new Date(now - Number(ago[1]) * (AGO[ago[2] as string] as number) * 1000).toISOString();
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new Error(`"${text.slice(0, 40)}" is no time: write 15m, 2h, 1d or 2026-01-31T12:00`);
  return new Date(at).toISOString();
}

/** The query of the API for the filters of the address. Throws for a text that is not a time. */
export function apiQuery(filters: URLSearchParams, now: number): Query {
  const query: Query = {};
  for (const name of ["topic", "key", "type"] as const) {
    const value = filters.get(name)?.trim();
    if (value) query[name] = value;
  }
  for (const name of ["from", "to"] as const) {
    const value = filters.get(name)?.trim();
    if (value) query[name] = moment(value, now);
  }
  return query;
}

/** New records above those that are shown, each once, the newest first. */
export function prepended(rows: LogRecord[], records: LogRecord[]): LogRecord[] {
  const known = new Set(rows.slice(0, 2_000).map(originOf));
  const added = records.filter((record) => !known.has(originOf(record))).reverse();
  return added.length === 0 ? rows : [...added, ...rows].slice(0, ROWS_KEPT);
}

/** The command line that shows the same. */
export function commandOf(filters: URLSearchParams): string {
  const words = ["langlog log tail"];
  for (const [filter, option] of [["topic", "--topic"], ["key", "--key"], ["type", "--type"], ["from", "--from"], ["to", "--to"]] as const) {
    const value = filters.get(filter)?.trim();
    if (value) words.push(`${option} '${value.replaceAll("'", "'\\''")}'`);
  }
  return words.join(" ");
}

/** The command that a decider made the record of: `ce_cause` is `<partition>-<offset>-<index>-<count>`. Null for other records. */
export function causeOf(record: LogRecord): { topic: string; partition: number; offset: number } | null {
  const found = /^(\d+)-(\d+)-/.exec(record.headers["ce_cause"] ?? "");
  return found ? { topic: "commands", partition: Number(found[1]), offset: Number(found[2]) } : null;
}

/** The colour of a type, by its family: what people look for first. */
export function toneOf(type: string): "ok" | "bad" | "wait" | "busy" | "quiet" {
  if (/\.(failed|timed_out|rejected)\b/.test(type) || type.startsWith("record.")) return "bad";
  if (/\.(succeeded)\b/.test(type)) return "ok";
  if (/\.(cancelled|interrupted|cancel_requested|cancel)\b/.test(type)) return "wait";
  if (/^run\.(created|create|dispatched|started)\b/.test(type)) return "busy";
  return "quiet";
}
