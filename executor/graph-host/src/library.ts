/**
 * What the host uses of the project's own `@langchain/langgraph` and `@langchain/core`, whatever version that is: types as far as needed
 * here, and the modules, imported as the graph's own file imports them.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { importedFrom } from "./loading/hooks.js";

/* eslint-disable @typescript-eslint/no-explicit-any */
export type Json = any;

export interface Configurable {
  thread_id?: string;
  checkpoint_ns?: string;
  checkpoint_id?: string;
  checkpoint_map?: Record<string, string>;
  [name: string]: unknown;
}

export interface Config {
  configurable?: Configurable;
  metadata?: Record<string, unknown>;
  [name: string]: unknown;
}

export interface Checkpoint {
  v: number;
  id: string;
  ts: string;
  channel_values: Record<string, unknown>;
  channel_versions: Record<string, string | number>;
  versions_seen: Record<string, Record<string, string | number>>;
  [name: string]: unknown;
}

export type PendingWrite = [task: string, channel: string, value: unknown];

export interface CheckpointTuple {
  config: Config;
  checkpoint: Checkpoint;
  metadata?: Record<string, unknown>;
  parentConfig?: Config;
  pendingWrites?: PendingWrite[];
}

export interface Interrupt {
  id?: string;
  interrupt_id?: string;
  value?: unknown;
}

export interface Task {
  id: string;
  name: string;
  path?: unknown[];
  error?: unknown;
  interrupts?: Interrupt[];
  state?: Config | Snapshot;
  result?: unknown;
}

export interface Snapshot {
  values: unknown;
  next: string[];
  tasks: Task[];
  metadata?: Record<string, unknown>;
  config: Config;
  parentConfig?: Config;
  createdAt?: string;
}

export interface Graph {
  name?: string;
  lg_is_pregel?: boolean;
  builder?: Json;
  nodes: Record<string, Json>;
  channels: Record<string, Json>;
  streamChannelsList: string[];
  streamTransformers?: unknown[];
  checkpointer?: unknown;
  store?: unknown;
  getName?(suffix?: string): string;
  stream(input: unknown, options: Record<string, unknown>): Promise<AsyncIterable<unknown>>;
  streamEvents(input: unknown, options: Record<string, unknown>): AsyncIterable<Json>;
  getState(config: Config, options?: { subgraphs?: boolean }): Promise<Snapshot>;
  getStateHistory(config: Config, options?: Record<string, unknown>): AsyncIterable<Snapshot>;
  updateState(config: Config, values: unknown, asNode?: string): Promise<Config>;
  bulkUpdateState(config: Config, steps: { updates: { values?: unknown; asNode?: string }[] }[]): Promise<Config>;
  getSubgraphsAsync?(namespace?: string, recurse?: boolean): AsyncIterable<[string, Graph]>;
  getSubgraphs?(namespace?: string, recurse?: boolean): Iterable<[string, Graph]>;
  getGraphAsync?(config?: Record<string, unknown>): Promise<Json>;
  getGraph?(config?: Record<string, unknown>): Json;
}

export interface Message {
  id?: string;
  content: unknown;
  type?: string;
  contentBlocks?: Json[];
  tool_call_chunks?: Json[];
  tool_calls?: Json[];
  response_metadata?: Record<string, unknown>;
  usage_metadata?: Record<string, unknown>;
  concat?(other: Message): Message;
  toDict(): { type: string; data: Record<string, unknown> };
}

type Class<T> = new (...args: any[]) => T;

export interface Serde {
  dumpsTyped(value: unknown): Promise<[string, Uint8Array]> | [string, Uint8Array];
  loadsTyped(type: string, data: Uint8Array | string): Promise<unknown>;
}

export interface Library {
  BaseCheckpointSaver: Class<{ serde: Serde }>;
  BaseStore: Class<object>;
  Command: Class<object>;
  Send: Class<object>;
  RunControl?: Class<{ requestDrain(reason: string): void }>;
  version: string;
}

const libraries = new Map<string, Promise<Library>>();

/** As code in the file gets it. */
export async function libraryOf(file: string): Promise<Library> {
  let known = libraries.get(file);
  if (known === undefined) {
    known = imported(file);
    libraries.set(file, known);
  }
  return known;
}

async function imported(file: string): Promise<Library> {
  const library = (await importedFrom(file, "@langchain/langgraph")) as Library;
  return Object.assign({}, library, { version: versionOf(file) });
}

/** The release that code in the file imports. */
function versionOf(file: string): string {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    try {
      const manifest = readFileSync(join(folder, "node_modules/@langchain/langgraph/package.json"), "utf8");
      return String((JSON.parse(manifest) as { version?: unknown }).version);
    } catch {
      if (folder === dirname(folder)) return "unknown";
    }
  }
}

/** A module of the project's packages; undefined where the project does not have it. */
export async function optionalModule(file: string, name: string): Promise<Json | undefined> {
  try {
    return await importedFrom(file, name);
  } catch {
    return undefined;
  }
}

export function isMessage(value: unknown): value is Message {
  return typeof value === "object" && value !== null && typeof (value as Message).toDict === "function" && "content" in value;
}

/** Whether it is a piece of a message that others are added to. */
export function isChunk(message: Message): message is Message & { concat(other: Message): Message } {
  return typeof message.concat === "function";
}

export const INTERRUPT = "__interrupt__";
export const ERROR = "__error__";
export const RESUME = "__resume__";
export const NULL_TASK = "00000000-0000-0000-0000-000000000000";

export function hasInterrupts(value: unknown): value is { [INTERRUPT]: Interrupt[] } {
  return typeof value === "object" && value !== null && INTERRUPT in value && Array.isArray((value as Json)[INTERRUPT]);
}

export function interruptId(interrupt: Interrupt): string | null {
  return interrupt.id ?? interrupt.interrupt_id ?? null;
}
