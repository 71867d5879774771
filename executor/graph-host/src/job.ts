/** One run of a graph, or one question about it, as the host sees it: its calls to the worker, and how it is stopped. */
import type { Item } from "./protocol.js";
import type { Connection } from "./connection.js";

/** Why the worker refused a call: the text is for the run's client. */
export class Refusal extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** Thrown into a graph that has to stop. */
export class Stopped extends Error {
  override name = "AbortError";
}

/** Bytes of a stream that leave at once, though more may gather. */
const ITEMS_BYTES = 256 * 1024;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Job {
  readonly #aborting = new AbortController();
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #items: Item[] = [];
  #itemBytes = 0;
  #held: Promise<void> | null = null;
  #go: () => void = () => undefined;
  dropped = false;
  /** What ended the job that was not the graph: a message that cannot be sent. */
  fault: unknown = null;
  drain: (() => void) | null = null;
  drains = false;

  constructor(
    readonly id: number,
    readonly about: { run_id?: string; thread_id?: string; graph_id: string },
    readonly connection: Connection,
  ) {}

  get signal(): AbortSignal {
    return this.#aborting.signal;
  }

  /** A call that the worker answers. Throws Refusal. */
  async call<T>(name: string, args: unknown[]): Promise<T> {
    if (this.dropped) throw new Stopped("the job is over");
    this.sendItems();
    const call = ++this.#calls;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve: resolve as (value: unknown) => void, reject });
      try {
        this.connection.send({ t: "call", job: this.id, call, name, args });
      } catch (error) {
        this.#waiting.delete(call);
        reject(error);
      }
    });
  }

  /** A call that nobody waits for; the worker ends the job if it fails. */
  note(name: string, args: unknown[]): void {
    if (this.dropped) throw new Stopped("the job is over");
    this.sendItems();
    this.connection.send({ t: "call", job: this.id, call: 0, name, args }, true);
  }

  /** Something that the run streams. What gathers within one turn of the event loop leaves together. */
  stream(item: Item): void {
    if (this.dropped) return;
    if (this.#items.length === 0) setImmediate(() => this.sendItems());
    this.#items.push(item);
    for (const part of item) if (part instanceof Uint8Array) this.#itemBytes += part.length;
    if (this.#itemBytes >= ITEMS_BYTES) this.sendItems();
  }

  /** What was streamed is before whatever is sent from now on. */
  sendItems(): void {
    if (this.#items.length === 0 || this.dropped) return;
    const items = this.#items;
    this.#items = [];
    this.#itemBytes = 0;
    try {
      this.connection.send({ t: "stream", job: this.id, items });
    } catch (error) {
      this.fault ??= error; // nobody waits for this
      this.#aborting.abort(error);
    }
  }

  /** The worker has what it can take of the stream, or takes more again. */
  hold(on: boolean): void {
    if (!on) {
      this.#go();
      this.#held = null;
    } else if (!this.#aborting.signal.aborted) {
      this.#held ??= new Promise((resolve) => (this.#go = resolve));
    }
  }

  /** Resolves once the worker takes more of the stream. */
  async room(): Promise<void> {
    await this.connection.room();
    if (this.#held !== null) await this.#held;
  }

  end(result: unknown): void {
    if (this.dropped) return;
    this.sendItems();
    this.connection.send({ t: "end", job: this.id, result });
    this.connection.flush();
  }

  answered(call: number, value: unknown): void {
    this.#settle(call)?.resolve(value);
  }

  refused(call: number, error: string, message: string): void {
    this.#settle(call)?.reject(new Refusal(error, message));
  }

  stop(how: "cancel" | "drain" | "drop"): void {
    if (how === "drain") {
      this.drains = true;
      this.drain?.();
      return;
    }
    if (how === "drop") {
      this.dropped = true;
      for (const { reject } of this.#waiting.values()) reject(new Stopped("the job is over"));
      this.#waiting.clear();
    }
    this.#aborting.abort(new Stopped("the run was stopped"));
    this.hold(false);
  }

  #settle(call: number): Waiting | undefined {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    return waiting;
  }
}
