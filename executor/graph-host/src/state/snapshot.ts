/** The State object of the wire contract (§4), from the library's snapshot of a checkpoint. The same as `state_snapshot.py`. */
import { textOf } from "../errors.js";
import { type Config, type Interrupt, interruptId, type Json, type Snapshot, type Task } from "../library.js";

export function stateOf(snapshot: Snapshot): Json {
  const checkpoint = checkpointOf(snapshot.config);
  const parent = checkpointOf(mapped(snapshot.parentConfig, snapshot.metadata));
  return {
    values: snapshot.values,
    next: [...snapshot.next],
    tasks: snapshot.tasks.map(taskOf),
    metadata: snapshot.metadata ?? null,
    created_at: snapshot.createdAt ?? null,
    checkpoint,
    parent_checkpoint: parent,
    interrupts: snapshot.tasks.flatMap((task) => (task.interrupts ?? []).map(shown)),
    checkpoint_id: checkpoint?.checkpoint_id ?? null,
    parent_checkpoint_id: parent?.checkpoint_id ?? null,
  };
}

/** The members that are asked for, of the values single keys by `values.<key>`; all when none is asked for. */
export function selected(state: Json, select: readonly string[]): Json {
  if (select.length === 0) return state;
  const members = new Set(select);
  const part: Json = Object.fromEntries(Object.entries(state).filter(([name]) => members.has(name)));
  const keys = select.filter((name) => name.startsWith("values.")).map((name) => name.slice("values.".length));
  if (keys.length > 0 && !members.has("values")) {
    const known: Json = state.values ?? {};
    part.values = Object.fromEntries(keys.filter((key) => key in known).map((key) => [key, known[key]]));
  }
  return part;
}

/** `{checkpoint_id, thread_id, checkpoint_ns, checkpoint_map?}`; null when the config names no checkpoint. */
export function checkpointOf(config: Config | undefined): Json {
  const configurable = config?.configurable ?? {};
  if (!configurable.checkpoint_id) return null;
  const checkpoint: Json = {
    checkpoint_id: configurable.checkpoint_id,
    thread_id: configurable.thread_id ?? null,
    checkpoint_ns: configurable.checkpoint_ns ?? "",
  };
  if (configurable.checkpoint_map !== undefined) checkpoint.checkpoint_map = configurable.checkpoint_map;
  return checkpoint;
}

/** The config of a subgraph's checkpoint with the way to it, which the library leaves out of parents: as `patch_checkpoint_map` in Python. */
export function mapped(config: Config | undefined, metadata: Json): Config | undefined {
  const { checkpoint_map: map, checkpoint_ns: namespace, checkpoint_id: id } = config?.configurable ?? {};
  const parents: unknown = metadata?.parents;
  if (!namespace || !id || map?.[namespace] !== undefined || typeof parents !== "object" || parents === null) return config;
  if (Object.keys(parents).length === 0) return config;
  return { ...config, configurable: { ...config!.configurable, checkpoint_map: { ...parents, [namespace]: id } } };
}

export function shown(interrupt: Interrupt): Json {
  return { id: interruptId(interrupt), value: interrupt.value };
}

/** Task id -> its open interrupts, as threads show them. */
export function interruptsOf(snapshot: Snapshot): Json {
  const open = snapshot.tasks.filter((task) => (task.interrupts ?? []).length > 0);
  return Object.fromEntries(open.map((task) => [task.id, task.interrupts!.map(shown)]));
}

function taskOf(task: Task): Json {
  const inner = task.state;
  const isState = inner !== undefined && inner !== null && "values" in inner;
  return {
    id: task.id,
    name: task.name,
    path: [...(task.path ?? [])],
    error: task.error === undefined || task.error === null ? null : errorText(task.error),
    interrupts: (task.interrupts ?? []).map(shown),
    checkpoint: inner !== undefined && inner !== null && !isState ? addressOf(inner as Config) : null,
    state: isState ? stateOf(inner as Snapshot) : null,
    result: task.result ?? null,
  };
}

function addressOf(config: Config): Json {
  const configurable = config.configurable ?? {};
  const names = ["thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map"];
  return Object.fromEntries(names.filter((name) => configurable[name] != null).map((name) => [name, configurable[name]]));
}

/** The library stores `{name, message}` of what a node has thrown. */
function errorText(error: unknown): string {
  if (typeof error === "string") return error;
  const { name, message } = error as { name?: unknown; message?: unknown };
  const named = typeof name === "string" ? name : "Error";
  // without a text as Python writes it: of a task that was cancelled, `CancelledError()`
  if (message === "") return `${named}()`;
  return typeof message === "string" ? `${named}: ${message}` : textOf(error);
}
