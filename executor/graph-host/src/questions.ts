/**
 * Answers about a graph or one of its threads: state, history, what an update of the state would write, drawings, schemas (wire contract §2,
 * §4). They append nothing: the writes of an update are captured by the worker.
 */
import type { AccessContext, Graphs, Opened } from "./graphs.js";
import type { Job } from "./job.js";
import type { Config, Graph, Json, Snapshot } from "./library.js";
import { commandOf } from "./run.js";
import { schemasOf } from "./schemas.js";
import { makeSaver } from "./state/checkpointer.js";
import { checkpointOf, interruptsOf, selected, stateOf } from "./state/snapshot.js";
import { makeStore } from "./state/store.js";
import { json } from "./values.js";

/** The asker is told the text, with this status of HTTP. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface Asked {
  graph_id: string;
  /** For functions that make graphs. */
  config: Config;
}
interface ThreadAsked extends Asked {
  /** Addresses the checkpoint. */
  at: Config;
}
interface Update {
  values: Json;
  command: Json | null;
  as_node: string | null;
}

const DRAWINGS_MAX = 16;

export type Answer = Record<string, unknown>;

export async function answer(job: Job, graphs: Graphs, kind: string, body: Json): Promise<Answer> {
  switch (kind) {
    case "state":
      return state(await open(job, graphs, body, "threads.read"), body);
    case "history":
      return history(await open(job, graphs, body, "threads.read"), body);
    case "update_state":
      return update(await open(job, graphs, body, "threads.update"), body, [[{ values: body.values, command: null, as_node: body.as_node }]]);
    case "supersteps":
      return update(await open(job, graphs, body, "threads.update"), body, body.supersteps);
    case "graph":
      return { body: json(await drawing((await open(job, graphs, body, "assistants.read")).graph, body.xray)) };
    case "subgraphs":
      return { body: json(await subgraphs(await open(job, graphs, body, "assistants.read"), body.namespace, body.recurse)) };
    case "schemas":
      return { body: json(await schemasOf(await open(job, graphs, body, "assistants.read"))) };
    case "describe":
      return describe(await open(job, graphs, body, "assistants.read"));
    default:
      throw new Refused(400, `Unknown kind of query: ${kind}`);
  }
}

function open(job: Job, graphs: Graphs, body: Asked & Partial<ThreadAsked>, access: AccessContext): Promise<Opened> {
  return graphs.open(body.graph_id, {
    config: body.config,
    access,
    checkpointer: (library) => makeSaver(library, job, { durable: true, at: body.at?.configurable?.checkpoint_id }),
    store: (library) => makeStore(library, job),
  });
}

async function state({ graph }: Opened, body: ThreadAsked & { subgraphs: boolean; select: string[] }): Promise<Answer> {
  const snapshot = await graph.getState(body.at, { subgraphs: body.subgraphs });
  return { body: json(selected(stateOf(snapshot), body.select)), errors: hasErrors(snapshot) };
}

async function history({ graph }: Opened, body: ThreadAsked & { limit: number; before: string | null; metadata: Json; select: string[] }): Promise<Answer> {
  const options: Record<string, unknown> = { limit: body.limit };
  if (body.before !== null) options["before"] = { configurable: { checkpoint_id: body.before } };
  if (body.metadata !== null) options["filter"] = body.metadata;
  const states: Uint8Array[] = [];
  let errors = false;
  for await (const snapshot of graph.getStateHistory(body.at, options)) {
    states.push(json(selected(stateOf(snapshot), body.select)));
    errors ||= hasErrors(snapshot);
    if (states.length >= body.limit) break;
  }
  return { states, errors };
}

/** Errors of tasks are texts that the worker masks. */
function hasErrors(snapshot: Snapshot): boolean {
  return snapshot.tasks.some((task) => {
    const inner = task.state;
    return (task.error !== undefined && task.error !== null) || (inner != null && "values" in inner && hasErrors(inner as Snapshot));
  });
}

async function update({ graph, library }: Opened, body: ThreadAsked, steps: Update[][] | { updates: Update[] }[]): Promise<Answer> {
  const supersteps = steps.map((step) => {
    const updates = Array.isArray(step) ? step : step.updates;
    return {
      updates: updates.map(({ values, command, as_node }) => ({
        values: command === null || command === undefined ? values : commandOf(command, library),
        ...(as_node === null || as_node === undefined ? {} : { asNode: as_node }),
      })),
    };
  });
  let updated: Config;
  try {
    await checkNamespace(graph, body.at.configurable?.checkpoint_ns);
    updated = await graph.bulkUpdateState(body.at, supersteps);
  } catch (error) {
    if ((error as Json)?.name === "InvalidUpdateError") throw new Refused(400, String((error as Error).message));
    throw error;
  }
  const latest = await graph.getState({ configurable: { thread_id: body.at.configurable!.thread_id, checkpoint_ns: "" } });
  return {
    checkpoint: json(checkpointOf(updated) ?? {}),
    values: json(latest.values),
    next: [...latest.next],
    interrupts: json(interruptsOf(latest)),
  };
}

async function checkNamespace(graph: Graph, namespace: string | undefined): Promise<void> {
  if (namespace === undefined || namespace === "") return;
  const named = namespace
    .split("|")
    .filter((part) => !/^\d+$/.test(part))
    .map((part) => part.split(":", 1)[0])
    .join("|");
  for await (const _ of subgraphsOf(graph, named, true)) return;
  throw new Refused(400, `Subgraph ${named} not found`);
}

export async function* subgraphsOf(graph: Graph, namespace: string | undefined, recurse: boolean): AsyncGenerator<[string, Graph]> {
  if (graph.getSubgraphsAsync !== undefined) yield* graph.getSubgraphsAsync(namespace, recurse);
  else yield* graph.getSubgraphs?.(namespace, recurse) ?? [];
}

/** `{nodes, edges}`. `xray`: whether, or how deep, subgraphs are drawn out. */
async function drawing(graph: Graph, xray: boolean | number): Promise<Json> {
  const drawn = await (graph.getGraphAsync?.({ xray }) ?? graph.getGraph?.({ xray }));
  const plain: Json = drawn.toJSON();
  for (const node of plain.nodes ?? []) {
    // the class that runs the node is nobody's business
    if (typeof node.data === "object" && node.data !== null) delete node.data.id;
  }
  return plain;
}

/** By depth: first without subgraphs, last with all of them. */
async function drawings(graph: Graph): Promise<Json[]> {
  const whole = await drawing(graph, true);
  const wanted = JSON.stringify(whole);
  const byDepth = [await drawing(graph, false)];
  const last = (): string => JSON.stringify(byDepth.at(-1));
  while (last() !== wanted && byDepth.length < DRAWINGS_MAX) byDepth.push(await drawing(graph, byDepth.length));
  return last() === wanted ? byDepth : [...byDepth, whole];
}

/** Name (with `recurse` also `outer|inner`) -> schemas; empty when no subgraph has that name. */
async function subgraphs({ graph, library, file }: Opened, namespace: string | null, recurse: boolean): Promise<Json> {
  const found: Record<string, Json> = {};
  for await (const [name, subgraph] of subgraphsOf(graph, namespace ?? undefined, recurse)) {
    found[name] = await schemasOf({ graph: subgraph, library, file });
  }
  return found;
}

/** All that gateways show of a graph without asking for it; drawings and subgraphs are null where they cannot be made. */
async function describe(opened: Opened): Promise<Answer> {
  const schemas = json(await schemasOf(opened));
  try {
    return { schemas, drawings: json(await drawings(opened.graph)), subgraphs: json(await subgraphs(opened, null, true)) };
  } catch (error) {
    console.warn("the graph cannot be drawn:", error);
    return { schemas, drawings: null, subgraphs: null };
  }
}

