/** What a graph yields in a run of the streaming protocol (wire contract §9). The same as `protocol_stream.py` makes of graphs in Python. */
import { hasInterrupts, INTERRUPT, type Interrupt, interruptId, isChunk, isMessage, type Json } from "../library.js";
import { json } from "../values.js";
import { MessageBlocks, textOfMessage } from "./blocks.js";
import { type Emit, FRAME, INTERRUPTED, INTERRUPTS, named, shownInterrupts, TASK, VALUES } from "./items.js";
import type { Follower } from "./run_stream.js";

/** What the metadata of a message has that a chat model has made, with or without streaming it. */
const OF_A_MODEL = "ls_model_type";
/** Modes that a run emits when a transformer of the graph requests them. */
const OWN = ["custom", "updates"];
const NAME_CHARACTERS_MAX = 200;

export class ProtocolStream implements Follower {
  readonly #blocks = new MessageBlocks();
  readonly #own: ReadonlySet<string>;
  #last: Json = {};
  hasValues = false;
  interrupted = false;

  /** `transformers`: those that the graph was compiled with. */
  constructor(
    private readonly emit: Emit,
    transformers: readonly unknown[],
  ) {
    const required = new Set(transformers.flatMap((each) => (each as Json)?.requiredStreamModes ?? []));
    this.#own = new Set(OWN.filter((mode) => required.has(mode)));
  }

  get modesWanted(): string[] {
    return [...new Set(["messages", "tasks", "tools", "updates", "values", ...this.#own])].sort();
  }

  chunk(namespace: readonly string[], mode: string, payload: Json): void {
    switch (mode) {
      case "values":
        this.#values(namespace, payload);
        break;
      case "messages":
        this.#message(namespace, payload[0], payload[1] ?? {});
        break;
      case "tasks":
        this.emit([TASK, [...namespace], json(taskOf(payload))]);
        break;
      case "tools":
        this.#send("@tools", namespace, toolEvent(payload));
        break;
      case "updates":
        if (namespace.length === 0 && hasInterrupts(payload)) {
          this.interrupted = true;
          this.emit([INTERRUPTED]);
        }
        if (this.#own.has("updates")) this.#send("@updates", namespace, payload);
        break;
      case "custom": {
        const name: unknown = payload?.name;
        const short = typeof name === "string" && name.length > 0 && name.length <= NAME_CHARACTERS_MAX && !name.includes("|");
        this.#send(short ? `@custom/${name}` : "@custom", namespace, payload);
        break;
      }
    }
  }

  finish(): void {
    for (const [namespace, event] of this.#blocks.finish()) this.#send("@messages", namespace, event);
  }

  #send(name: string, namespace: readonly string[], data: unknown): void {
    this.emit([FRAME, named(name, namespace), json(data)]);
  }

  #values(namespace: readonly string[], payload: Json): void {
    if (namespace.length > 0) {
      if (!hasInterrupts(payload)) this.#send("values", namespace, payload);
    } else if (hasInterrupts(payload)) {
      this.finish();
      const interrupts = shownInterrupts(payload[INTERRUPT]);
      this.emit([INTERRUPTS, json(interrupts)]);
      this.emit([FRAME, "values", json({ ...this.#last, [INTERRUPT]: interrupts })]);
    } else {
      this.#last = payload;
      this.hasValues = true;
      this.emit([VALUES, "values", json(payload)]);
    }
  }

  #message(namespace: readonly string[], message: Json, about: Json): void {
    if (!isMessage(message)) return;
    // a node that hands on a call of a tool: nobody speaks; it is among the values
    if (!isChunk(message) && textOfMessage(message) === "" && !(OF_A_MODEL in about)) return;
    for (const event of this.#blocks.take(namespace, message)) this.#send("@messages", namespace, event);
  }
}

/** What the worker needs to know of a task: subgraphs begin and end with it. */
function taskOf(payload: Json): Json {
  const call = payload.input?.tool_call ?? payload.input?.lg_tool_call;
  const known: Record<string, unknown> = { id: payload.id, metadata: payload.metadata };
  if (typeof call?.id === "string") known["input"] = { tool_call: { id: call.id } };
  if ("result" in payload) {
    known["result"] = null;
    known["interrupts"] = (payload.interrupts ?? []).map((each: Interrupt) => ({ id: interruptId(each) }));
    known["error"] = payload.error?.message ?? payload.error ?? null;
  }
  return known;
}

/** The library's own names of what tools do, in those of the protocol. */
function toolEvent(payload: Json): Json {
  const tool_call_id = String(payload?.toolCallId ?? "");
  switch (payload?.event) {
    case "on_tool_start":
      return { event: "tool-started", tool_call_id, tool_name: String(payload.name ?? "unknown"), input: payload.input };
    case "on_tool_event":
      return { event: "tool-output-delta", tool_call_id, delta: typeof payload.data === "string" ? payload.data : JSON.stringify(payload.data ?? "") };
    case "on_tool_end":
      return { event: "tool-finished", tool_call_id, output: payload.output };
    case "on_tool_error":
      return { event: "tool-error", tool_call_id, message: String(payload.error?.message ?? payload.error ?? "unknown error") };
    default:
      return payload;
  }
}
