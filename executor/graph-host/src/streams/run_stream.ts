/** What a graph yields, as the events of a run's own stream (wire contract §6). The same as `run_stream.py` makes of graphs in Python. */
import { hasInterrupts, INTERRUPT, isChunk, isMessage, type Json, type Message } from "../library.js";
import { json } from "../values.js";
import { MessageBlocks } from "./blocks.js";
import {
  type Emit,
  failureNamed,
  FRAME,
  INTERRUPTED,
  INTERRUPTS,
  MARK,
  named,
  shownCheckpoint,
  shownDebug,
  shownInterrupts,
  shownMembers,
  VALUES,
} from "./items.js";

/** Modes that the library knows under the contract's own name. `messages-tuple` and `events` are made here. */
const LIBRARY_MODES = new Set(["values", "updates", "custom", "tasks", "checkpoints", "debug", "messages", "tools"]);

export interface Follower {
  readonly modesWanted: string[];
  hasValues: boolean;
  interrupted: boolean;
  chunk(namespace: readonly string[], mode: string, payload: Json): void;
  finish(): void;
}

export class RunStream implements Follower {
  readonly #modes: ReadonlySet<string>;
  readonly #blocks = new MessageBlocks();
  readonly #partial = new Map<string, Message>();
  readonly #seen = new Set<string>();
  hasValues = false;
  interrupted = false;

  constructor(
    modes: readonly string[],
    private readonly emit: Emit,
    private readonly hidden: ReadonlySet<string>,
    private readonly marks: boolean,
  ) {
    this.#modes = new Set(modes.length > 0 ? modes : ["values"]);
  }

  get events(): boolean {
    return this.#modes.has("events");
  }

  get modesWanted(): string[] {
    const modes = new Set(["values", "updates", ...[...this.#modes].filter((mode) => LIBRARY_MODES.has(mode))]);
    if (this.marks) modes.add("checkpoints");
    if (this.#modes.has("messages-tuple")) modes.add("messages");
    return [...modes].sort();
  }

  /** One event of `streamEvents` that is not a chunk of the run itself. */
  event(event: Json): void {
    this.emit([FRAME, "events", json({ ...event, metadata: shownMembers(event.metadata, this.hidden) })]);
  }

  chunk(namespace: readonly string[], mode: string, payload: Json): void {
    switch (mode) {
      case "values":
        this.#values(namespace, payload);
        break;
      case "updates":
        if (namespace.length === 0 && hasInterrupts(payload)) {
          if (!this.interrupted) this.emit([INTERRUPTED]);
          this.interrupted = true;
        }
        if (this.#modes.has("updates")) this.#send("updates", namespace, interruptsShown(payload));
        break;
      case "messages":
        this.#message(namespace, payload[0], payload[1]);
        break;
      case "debug":
        this.#send(mode, namespace, shownDebug(payload, this.hidden));
        break;
      case "checkpoints":
        this.#checkpoint(namespace, payload);
        break;
      case "tasks":
        if (this.#modes.has(mode)) this.#send(mode, namespace, failureNamed(payload));
        break;
      default:
        if (this.#modes.has(mode)) this.#send(mode, namespace, payload);
    }
  }

  finish(): void {
    for (const [namespace, event] of this.#blocks.finish()) this.emit([FRAME, named("@messages", namespace), json(event)]);
  }

  #send(name: string, namespace: readonly string[], payload: unknown): void {
    this.emit([FRAME, named(name, namespace), json(payload)]);
  }

  #values(namespace: readonly string[], payload: Json): void {
    const encoded = json(interruptsShown(payload));
    const name = named(this.#modes.has("values") ? "values" : "@values", namespace);
    if (namespace.length > 0) {
      this.emit([FRAME, name, encoded]);
    } else if (hasInterrupts(payload)) {
      this.emit([INTERRUPTS, json(shownInterrupts(payload[INTERRUPT]))]);
      this.emit([FRAME, name, encoded]);
    } else {
      this.hasValues = true;
      this.emit([VALUES, name, encoded]);
    }
  }

  /** Newer releases send an envelope of each checkpoint unasked: it has no config. */
  #checkpoint(namespace: readonly string[], payload: Json): void {
    if (payload?.config === undefined) return;
    if (this.#modes.has("checkpoints")) this.#send("checkpoints", namespace, shownCheckpoint(payload, this.hidden));
    const written: unknown = payload.config?.configurable?.checkpoint_id;
    if (this.marks && namespace.length === 0 && typeof written === "string") this.emit([MARK, written]);
  }

  #message(namespace: readonly string[], message: Json, about: Json): void {
    const metadata = shownMembers(about, this.hidden);
    if (!isMessage(message)) return;
    for (const event of this.#blocks.take(namespace, message)) this.emit([FRAME, named("@messages", namespace), json(event)]);
    if (this.#modes.has("messages-tuple")) {
      this.#send("messages", namespace, [message, metadata]);
      return;
    }
    if (!this.#modes.has("messages")) return;
    const key = message.id ?? "";
    if (!this.#seen.has(key)) {
      this.#seen.add(key);
      this.#send("messages/metadata", namespace, { [key]: { metadata } });
    }
    if (isChunk(message)) {
      const soFar = this.#partial.get(key);
      const whole = soFar?.concat === undefined ? message : soFar.concat(message);
      this.#partial.set(key, whole);
      this.#send("messages/partial", namespace, [whole]);
    } else {
      this.#send("messages/complete", namespace, [message]);
    }
  }
}

/** Interrupts in the form in which the API shows them. */
export function interruptsShown(payload: Json): Json {
  return hasInterrupts(payload) ? { ...payload, [INTERRUPT]: shownInterrupts(payload[INTERRUPT]) } : payload;
}
