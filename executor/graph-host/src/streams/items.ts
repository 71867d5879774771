/**
 * What a run streams, as the worker takes it. A frame's name is that of the wire contract (§6, §9), `mode|namespace…`; names that begin
 * with `@` are events of the streaming protocol alone.
 *
 *     [FRAME, name, data]           publish it
 *     [VALUES, name | null, data]   values of the whole state, remembered for the run's end; published under the name
 *     [INTERRUPTED]                 the graph has stopped by itself: its state says what for
 *     [INTERRUPTS, data]            what the graph asks a human, as a list
 *     [TASK, namespace, data]       a task began or has its result: subgraphs begin and end with it
 *     [MARK, checkpoint id]         what follows comes after this checkpoint
 *     [SPAN, id, …]                 for traces: see `spans.ts`
 *     [UNTRACKED, names]            channels that the library does not store: the thread's values are without them. Before all values
 *
 * Data are JSON.
 */
import type { Config, Interrupt, Json, Task } from "../library.js";
import { interruptId } from "../library.js";
import type { Item } from "../protocol.js";
import { mapped } from "../state/snapshot.js";

export const FRAME = 0;
export const VALUES = 1;
export const INTERRUPTED = 2;
export const INTERRUPTS = 3;
export const TASK = 4;
export const MARK = 5;
export const SPAN = 6;
export const UNTRACKED = 7;

export type Emit = (item: Item) => void;

export function named(name: string, namespace: readonly string[]): string {
  return namespace.length === 0 ? name : [name, ...namespace].join("|");
}

/** As values and answers show them. */
export function shownInterrupts(interrupts: readonly Interrupt[]): Json[] {
  return interrupts.map((each) => ({ value: each.value, id: interruptId(each), response_schema: null }));
}

/** The config without what belongs to the library or to the caller alone. */
export function shownConfig(config: Config | undefined, hidden: ReadonlySet<string>): Json {
  if (config === undefined || config === null) return null;
  const shown: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(config)) {
    if (name === "callbacks" || name === "signal" || value === undefined) continue;
    shown[name] = name === "configurable" || name === "metadata" ? shownMembers(value as Record<string, unknown>, hidden) : value;
  }
  return shown;
}

export function shownMembers(values: Record<string, unknown> | undefined, hidden: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values ?? {}).filter(([name]) => !name.startsWith("__") && !hidden.has(name)));
}

/** `{checkpoint_id, thread_id, checkpoint_ns, checkpoint_map?}` */
export function address(config: Config | undefined): Json {
  const configurable = config?.configurable;
  if (configurable === undefined) return null;
  const found: Record<string, unknown> = {
    checkpoint_id: configurable.checkpoint_id,
    thread_id: configurable.thread_id,
    checkpoint_ns: configurable.checkpoint_ns ?? "",
  };
  if (configurable.checkpoint_map !== undefined) found["checkpoint_map"] = configurable.checkpoint_map;
  return found;
}

/** A payload of mode `checkpoints`. */
export function shownCheckpoint(payload: Json, hidden: ReadonlySet<string>): Json {
  const { config, parentConfig, metadata, ...rest } = payload;
  return {
    ...rest,
    config: shownConfig(mapped(config, metadata), hidden),
    parent_config: shownConfig(mapped(parentConfig, metadata), hidden),
    metadata: shownMembers(metadata, hidden),
  };
}

/** A payload of mode `debug`: checkpoints also name themselves and their parent in the form of the thread API. */
export function shownDebug(payload: Json, hidden: ReadonlySet<string>): Json {
  if (payload?.type === "task_result") return { ...payload, payload: failureNamed(payload.payload) };
  if (payload?.type !== "checkpoint") return payload;
  const inner = payload.payload;
  return {
    ...payload,
    payload: {
      ...shownCheckpoint(inner, hidden),
      checkpoint: address(mapped(inner.config, inner.metadata)),
      parent_checkpoint: address(mapped(inner.parentConfig, inner.metadata)),
      tasks: (inner.tasks ?? []).map(debugTask),
    },
  };
}

/** A task that is a subgraph shows the subgraph's checkpoint address instead of a state. */
function debugTask(task: Task): Json {
  const state = task.state as Config | undefined;
  if (state?.configurable === undefined) return task;
  const { state: _, ...rest } = task;
  return { ...rest, checkpoint: state.configurable };
}

/** A task's result with its failure in the form of the run's own error: `{error, message}`. */
export function failureNamed(task: Json): Json {
  const error = task?.error;
  if (typeof error !== "object" || error === null || !("message" in error)) return task;
  return { ...task, error: { error: error.name ?? "Error", message: error.message } };
}
