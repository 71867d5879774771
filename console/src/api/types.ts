// Responses of the API, as far as the console reads them (see /openapi.json). Members may be missing: other versions, `select`.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Metadata = Record<string, Json>;

export type ThreadStatus = "idle" | "busy" | "interrupted" | "error";
export type RunStatus = "pending" | "running" | "error" | "success" | "timeout" | "interrupted";

export interface Interrupt {
  id: string;
  value: Json;
}

export interface Thread {
  thread_id: string;
  created_at: string;
  updated_at: string;
  state_updated_at?: string;
  metadata: Metadata;
  status: ThreadStatus;
  config?: Json;
  values?: { [channel: string]: Json } | null;
  interrupts?: Record<string, Interrupt[]>;
  error?: { error: string; message: string } | null;
  extracted?: Record<string, Json>;
}

export interface Run {
  run_id: string;
  thread_id: string;
  assistant_id: string;
  created_at: string;
  updated_at: string;
  status: RunStatus;
  metadata: Metadata;
  kwargs?: { [name: string]: Json };
  multitask_strategy?: string;
}

export interface Checkpoint {
  thread_id: string;
  checkpoint_ns?: string;
  checkpoint_id?: string | null;
  checkpoint_map?: Json;
}

export interface Task {
  id: string;
  name: string;
  path?: Json[];
  error?: string | null;
  interrupts: Interrupt[];
  checkpoint?: Checkpoint | null;
  state?: State | null;
  result?: Json;
}

export interface State {
  values: { [channel: string]: Json };
  next: string[];
  tasks: Task[];
  metadata: Metadata | null;
  created_at: string | null;
  checkpoint: Checkpoint | null;
  parent_checkpoint: Checkpoint | null;
  interrupts?: Interrupt[];
}

export interface Assistant {
  assistant_id: string;
  graph_id: string;
  name: string;
  description?: string | null;
  version: number;
  config: Json;
  context?: Json;
  metadata: Metadata;
  created_at: string;
  updated_at: string;
}

export interface Cron {
  cron_id: string;
  assistant_id: string;
  thread_id: string | null;
  schedule: string;
  timezone?: string | null;
  enabled?: boolean;
  end_time?: string | null;
  next_run_date: string | null;
  payload: Json;
  metadata: Metadata;
  created_at: string;
  updated_at: string;
}

/** One record of the audit API (docs/audit.md). */
export interface AuditEvent {
  id: string | null;
  type: string;
  time: string | null;
  subject: string;
  run_id: string | null;
  source: string | null;
  actor: string | null;
  cause: { partition: number; offset: number; index: number; count: number; id?: string; type?: string } | null;
  position: { topic: string; partition: number; offset: number };
  data: { [name: string]: Json } | null;
}

/** A message of `GET /changes`. */
export interface Changes {
  threads?: Thread[];
  runs?: Run[];
  assistants?: Assistant[];
  crons?: Cron[];
  deleted?: { kind: string; id: string }[];
  stale?: string[];
}

export interface Info {
  version?: string;
  langgraph_py_version?: string;
  langlog_version?: string;
  flags?: Record<string, Json>;
}
