/**
 * One attempt of a run: opens the graph, streams it, and says how it ended. The worker's side (`hosted_attempt.py`) makes a report of that.
 *
 * It never throws for what the graph does. A run that is cancelled notes on the checkpoint which tasks were under way, and gives the
 * thread's state, as one that failed does.
 */
import { described, type Described } from "./errors.js";
import type { Graphs, Opened } from "./graphs.js";
import type { Job } from "./job.js";
import { type Config, ERROR, type Graph, INTERRUPT, type Json, type Library, NULL_TASK, optionalModule, RESUME, type Snapshot } from "./library.js";
import { makeSaver, type Saver, type SaverOptions } from "./state/checkpointer.js";
import { interruptsOf } from "./state/snapshot.js";
import { makeStore } from "./state/store.js";
import { shownInterrupts, UNTRACKED } from "./streams/items.js";
import { ProtocolStream } from "./streams/protocol_stream.js";
import { spanCallbacks } from "./streams/spans.js";
import { type Follower, RunStream } from "./streams/run_stream.js";
import { json } from "./values.js";

export interface RunBody {
  graph_id: string;
  run_id: string;
  thread_id: string;
  attempt: number;
  /** The thread had no checkpoint before this run. */
  fresh: boolean;
  input: Json;
  command: Json | null;
  /** In the members of the library: `configurable`, `metadata`, `runId`, `tags`, `recursionLimit`, `maxConcurrency`, `runName`. */
  config: Config;
  context: Json;
  modes: string[];
  subgraphs: boolean;
  /** Started by the streaming protocol. */
  protocol: boolean;
  /** Checkpoints are marked in the stream. */
  marks: boolean;
  durability: "sync" | "async" | "exit";
  interrupt_before: "*" | string[] | null;
  interrupt_after: "*" | string[] | null;
  /** Members of the configurable that nothing may hold. */
  hidden: string[];
  /** An answer that nobody waits for fails the run. */
  strict: boolean;
  /** Its nodes, model calls and tools are traced. */
  spans: boolean;
  langsmith: { project_name?: string; example_id?: string } | null;
}

export interface Ended {
  how: "done" | "failed" | "cancelled" | "drained";
  interrupted?: boolean;
  state?: { values: Uint8Array; next: string[]; interrupts: Uint8Array; output: Uint8Array | null } | null;
  error?: Described;
  /** Why the library refused an answer. */
  refusal?: { reason: string; interrupt_ids: string[]; pending_ids: string[] };
  /** It never came to run the graph. */
  unopened?: boolean;
}

export async function execute(job: Job, graphs: Graphs, body: RunBody): Promise<Ended> {
  const saverOptions: SaverOptions = { durable: body.durability === "sync", hidden: new Set(body.hidden) };
  if (body.fresh && body.attempt === 1) saverOptions.freshThread = body.thread_id;
  let saver: Saver | undefined;
  let opened: Opened;
  try {
    opened = await graphs.open(body.graph_id, {
      config: body.config,
      access: "threads.create_run",
      context: body.context,
      checkpointer: (library) => (saver = makeSaver(library, job, saverOptions)),
      store: (library) => makeStore(library, job),
    });
    if (job.signal.aborted) return { how: "cancelled", unopened: true };
  } catch (error) {
    return { how: job.signal.aborted ? "cancelled" : "failed", error: described(error), unopened: true };
  }
  const { library } = opened;
  saver ??= makeSaver(library, job, saverOptions); // of a graph that is elsewhere
  const ended = await attempt(job, opened, saver, body);
  await saver.settled();
  return ended;
}

async function attempt(job: Job, { graph, library, file }: Opened, saver: Saver, body: RunBody): Promise<Ended> {
  const hidden = new Set(body.hidden);
  const emit = job.stream.bind(job);
  const follower: Follower = body.protocol
    ? new ProtocolStream(emit, graph.streamTransformers ?? [])
    : new RunStream(body.modes, emit, hidden, body.marks);
  const untracked = Object.entries(graph.channels ?? {}).filter(([, channel]) => channel?.lc_graph_name === "UntrackedValue");
  if (untracked.length > 0) emit([UNTRACKED, untracked.map(([name]) => name)]);
  try {
    const config = { ...body.config, configurable: { ...body.config.configurable } };
    const input = await inputOf(body, library, saver, config);
    const options = await optionsOf(job, library, file, body, config);
    if (follower instanceof RunStream && follower.events) await followEvents(job, graph, input, options, follower, body);
    else await follow(job, graph, input, options, follower, body.subgraphs || body.protocol);
  } catch (error) {
    if (isDrained(error)) return { how: "drained" };
    const stopped = job.signal.aborted;
    follower.finish();
    if (job.fault !== null) return { how: "failed", error: described(job.fault), state: await stateNow(graph, saver, body) };
    if (stopped) return { how: "cancelled", state: await afterStop(graph, saver, body, job) };
    const refusal = body.strict ? refusalOf(error) : null;
    const ended: Ended = { how: "failed", error: described(error), state: await stateNow(graph, saver, body) };
    return refusal === null ? ended : { ...ended, refusal };
  }
  follower.finish();
  if (job.signal.aborted) return { how: "cancelled", state: await afterStop(graph, saver, body, job) };
  const asked = follower.interrupted || !follower.hasValues;
  return { how: "done", interrupted: follower.interrupted, state: asked ? await stateNow(graph, saver, body) : null };
}

async function follow(job: Job, graph: Graph, input: unknown, options: Record<string, unknown>, follower: Follower, subgraphs: boolean): Promise<void> {
  const chunks = await graph.stream(input, { ...options, streamMode: follower.modesWanted, subgraphs });
  for await (const chunk of chunks) await take(job, chunk, follower, subgraphs);
}

async function followEvents(job: Job, graph: Graph, input: unknown, options: Record<string, unknown>, follower: RunStream, body: RunBody): Promise<void> {
  const events = graph.streamEvents(input, { ...options, version: "v2", streamMode: follower.modesWanted, subgraphs: body.subgraphs });
  for await (const event of events) {
    if (event.run_id === body.run_id && event.event === "on_chain_stream" && Array.isArray(event.data?.chunk)) {
      await take(job, event.data.chunk, follower, body.subgraphs);
    } else {
      follower.event(event);
      await job.room();
    }
  }
}

/** One chunk: `[namespace, mode, payload]`, or without the namespace. */
async function take(job: Job, chunk: unknown, follower: Follower, subgraphs: boolean): Promise<void> {
  const [namespace, mode, payload] = (subgraphs ? chunk : [[], ...(chunk as unknown[])]) as [string[], string, Json];
  if (typeof payload === "object" && payload !== null && INTERRUPT in payload) await job.call("flush", []); // a client may answer it at once
  follower.chunk(namespace ?? [], mode, payload);
  await job.room();
}

function refusalOf(error: unknown): Ended["refusal"] | null {
  const thrown = error as Json;
  if (thrown?.name !== "UnknownInterruptError") return null;
  return { reason: String(thrown.reason), interrupt_ids: thrown.interruptIds ?? [], pending_ids: thrown.pendingIds ?? [] };
}

function isDrained(error: unknown): boolean {
  return typeof error === "object" && error !== null && (error as Json).name === "GraphDrained";
}

async function optionsOf(
  job: Job,
  library: Library,
  file: string,
  body: RunBody,
  config: Config,
): Promise<Record<string, unknown>> {
  const options: Record<string, unknown> = { ...config, signal: job.signal, durability: body.durability };
  if (body.context !== null && body.context !== undefined) options["context"] = body.context;
  if (body.interrupt_before !== null) options["interruptBefore"] = body.interrupt_before;
  if (body.interrupt_after !== null) options["interruptAfter"] = body.interrupt_after;
  if (library.RunControl !== undefined) {
    const control = new library.RunControl();
    job.drain = () => control.requestDrain("shutdown");
    if (job.drains) job.drain();
    options["control"] = control;
  }
  if (body.spans) options["callbacks"] = [spanCallbacks(job.stream.bind(job))];
  if (body.langsmith !== null) {
    const tracers = await optionalModule(file, "@langchain/core/tracers/tracer_langchain");
    const { project_name: projectName, example_id: exampleId } = body.langsmith;
    if (tracers !== undefined) {
      const callbacks = (options["callbacks"] ?? []) as unknown[];
      options["callbacks"] = [...callbacks, new tracers.LangChainTracer({ projectName, exampleId })];
    }
  }
  return options;
}

/** The run's input or command; of a later attempt, what is left of it to be done. */
async function inputOf(body: RunBody, library: Library, saver: Saver, config: Config): Promise<unknown> {
  const given = (): unknown => (body.command === null ? body.input : commandOf(body.command, library));
  // a later attempt finds its own answer there
  if (body.strict && body.attempt === 1) config.configurable!["__pregel_strict_resume"] = true;
  if (body.attempt === 1 || body.fresh) return given();
  const saved = await saver.getTuple(latest(body));
  if (saved === undefined) return given();
  if (saved.metadata?.["run_id"] === body.run_id) {
    delete config.configurable!.checkpoint_id; // it goes on from its own last checkpoint
    delete config.configurable!.checkpoint_map;
    return null;
  }
  if (body.command !== null && alreadyWritten(body.command, saved.pendingWrites ?? [])) return null;
  return given();
}

/** Whether the writes of a command stand on the checkpoint of the run before: applied again, its update would count twice. */
function alreadyWritten(command: Json, pending: [string, string, unknown][]): boolean {
  const stored = pending.filter(([task]) => task === NULL_TASK).map(([, channel, value]) => `${channel} ${JSON.stringify(value)}`);
  const wanted: [string, unknown][] = [];
  if (command.resume !== null && command.resume !== undefined) {
    const byId = typeof command.resume === "object" && Object.keys(command.resume).every((key) => /^[0-9a-f]{32}$/.test(key));
    if (byId && Object.keys(command.resume).length > 0) return false; // it answers its tasks again
    wanted.push([RESUME, command.resume]);
  }
  const { update } = command;
  if (update !== null && update !== undefined) wanted.push(...(Array.isArray(update) ? update : Object.entries(update)));
  return wanted.length > 0 && wanted.every(([channel, value]) => stored.includes(`${channel} ${JSON.stringify(value)}`));
}

/** `{update?, resume?, goto?}` of the API. `goto`: a node, `{node, input}`, or a list of these. */
export function commandOf(command: Json, library: Library): object {
  const targets: Json[] = command.goto == null ? [] : Array.isArray(command.goto) ? command.goto : [command.goto];
  const given: Record<string, unknown> = {};
  if (targets.length > 0) given["goto"] = targets.map((each) => (typeof each === "string" ? each : new library.Send(each.node, each.input)));
  if (command.update != null) given["update"] = command.update;
  if (command.resume !== undefined && command.resume !== null) given["resume"] = command.resume;
  return new library.Command(given);
}

function latest(body: RunBody): Config {
  return { configurable: { thread_id: body.thread_id, checkpoint_ns: "" } };
}

/** The thread's state as it now is; null without a checkpoint, or when it cannot be read. */
async function snapshotNow(graph: Graph, saver: Saver, body: RunBody): Promise<Snapshot | null> {
  try {
    await saver.settled();
    const snapshot = await graph.getState(latest(body));
    return snapshot.metadata === undefined ? null : snapshot;
  } catch (error) {
    console.error("the state of the thread cannot be read:", error);
    return null;
  }
}

async function stateNow(graph: Graph, saver: Saver, body: RunBody): Promise<Ended["state"]> {
  return stateOf(await snapshotNow(graph, saver, body));
}

function stateOf(snapshot: Snapshot | null): Ended["state"] {
  if (snapshot === null) return null;
  const interrupts = snapshot.tasks.flatMap((task) => task.interrupts ?? []);
  const { values } = snapshot;
  const shown = interrupts.length > 0 ? { [INTERRUPT]: shownInterrupts(interrupts) } : null;
  const isObject = typeof values === "object" && values !== null && !Array.isArray(values);
  const output = shown === null ? null : json(isObject ? { ...values, ...shown } : { ...shown, value: values });
  return { values: json(values), next: [...snapshot.next], interrupts: json(interruptsOf(snapshot)), output };
}

/** Cancelled from outside: tasks that were under way say so in the state (wire contract §7.1). */
async function afterStop(graph: Graph, saver: Saver, body: RunBody, job: Job): Promise<Ended["state"]> {
  if (job.dropped) return null;
  const snapshot = await snapshotNow(graph, saver, body);
  if (snapshot === null || snapshot.next.length === 0) return stateOf(snapshot);
  for (const task of snapshot.tasks) {
    if (task.error === undefined && task.result === undefined && (task.interrupts ?? []).length === 0) {
      const note = { name: "CancelledError", message: "" };
      await saver.putWrites(snapshot.config, [[ERROR, note]], task.id, pathText(task.path ?? []));
    }
  }
  return stateOf(snapshot);
}

/** As the library writes the path of a task (`taskPathStr`), so that writes sort as they do elsewhere. */
function pathText(path: unknown): string {
  if (Array.isArray(path)) return `~${path.map(pathText).join(", ")}`;
  if (typeof path === "boolean") return path ? "0000000001" : "0000000000";
  if (typeof path === "number") return path < 0 ? `-${String(-path).padStart(9, "0")}` : String(path).padStart(10, "0");
  return path === undefined || path === null ? "~" : String(path);
}
