// Responses of the operator API (docs/reference/operator-api.md).
import type { Json } from "./types";

export interface Finding {
  severity: "error" | "warning" | "info";
  text: string;
  about: string;
}

export interface Worker {
  worker_id: string;
  lease_s: number;
  held: number;
  runs: { run_id: string; attempt: number }[];
  about: { host: string; pid: number; started_ms: number; slots: number; graphs: string[]; loops: number; blocked: string[] } | null;
}

export interface Group {
  group: string;
  topic: string;
  partitions: number;
  partitions_behind: number;
  position: number;
  end: number;
  lag: number;
}

export interface Webhook {
  run_id: string;
  thread_id: string;
  url: string;
  attempts: number;
  ended_at: string;
  next_attempt_at: string;
  last_attempt: Json;
}

export interface SystemHealth {
  at: string;
  ready: boolean;
  findings: Finding[];
  runs: { pending: number; running: number; delayed: number; longest_wait_s: number | null; unblocked_wait_s: number | null; oldest_run_id: string | null; oldest_thread_id: string | null } | null;
  queued: number | null;
  workers: Worker[] | null;
  groups: Group[] | null;
  parked_keys: number | null;
  parked_records: number | null;
  webhooks: Webhook[] | null;
  webhooks_waiting: number | null;
  webhooks_given_up: number | null;
}

/** Response of `…/why`: sentences. */
export interface Explanation {
  run_id: string;
  lines: string[];
  waits_for_run: string | null;
}

export interface LogRecord {
  topic: string;
  partition: number;
  offset: number;
  key: string;
  type: string;
  time: string | null;
  bytes: number;
  headers: Record<string, string>;
  data: Json;
  omitted: "large" | "erased" | "unreadable" | null;
}

export interface RecordPage {
  records: LogRecord[];
  cursor: string | null;
  scanned: number;
}

export interface ParkedKey {
  key: string;
  records: number;
  since: string;
  first: string;
  type: string | null;
  error: string | null;
}

export interface ParkedRecord {
  origin: string;
  topic: string;
  type: string | null;
  state: "bad" | "behind";
  error: string | null;
  at: string;
  headers: Record<string, string>;
  data: Json;
}

export type Verdict = "same" | "different" | "recorded only" | "replayed only";

export interface Difference {
  path: string;
  recorded: string | null;
  replayed: string | null;
}

export interface ReplayStep {
  namespace: string;
  step: number;
  verdict: Verdict;
  nodes: { name: string; verdict: Verdict; differences: Difference[] }[];
  differences: Difference[];
}

export interface Replayed {
  steps: ReplayStep[];
  recorded: string;
  replayed: string;
  differences: Difference[];
  store_writes: string[];
  same: boolean;
}

export const originOf = (record: LogRecord): string => `${record.topic}-${record.partition}-${record.offset}`;
