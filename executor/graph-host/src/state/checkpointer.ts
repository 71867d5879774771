/**
 * The saver that a job's graph gets: every call goes to the worker, which owns the log. Values travel as the bytes of the project's own
 * serializer, under tags that begin with `js+`; the worker compresses, encrypts and stores them, and opens none.
 *
 * Writes keep the order in which the library made them. They are answered when the worker has taken them over; with durability "sync",
 * outside a run, and when much is on the way, once they are in the log.
 */
import type { Job } from "../job.js";
import type { Checkpoint, CheckpointTuple, Config, Library, PendingWrite, Serde } from "../library.js";
import { excessiveLength, json } from "../values.js";

/** Before the serializer's own tag. */
export const TAG = "js+";
/** Bytes that go to the worker without an answer being waited for. */
const UNANSWERED_BYTES = 1024 * 1024;
const RANDOM_DIGITS = 6;
const WRITES_IDX: Record<string, number> = { __error__: -1, __scheduled__: -2, __interrupt__: -3, __resume__: -4 };

type Encoded = [type: string, data: Uint8Array];
/** [thread, namespace, id, parent, type, data, metadata, values by channel, writes [task, channel, type, data]] */
type Stored = [string, string, string, string | null, string, Uint8Array, Uint8Array, Record<string, Encoded>, [string, string, string, Uint8Array][]];

interface ListOptions {
  limit?: number;
  before?: Config;
  filter?: Record<string, unknown>;
}

export interface Saver {
  getTuple(config: Config): Promise<CheckpointTuple | undefined>;
  list(config: Config, options?: ListOptions): AsyncGenerator<CheckpointTuple>;
  put(config: Config, checkpoint: Checkpoint, metadata: Record<string, unknown>, newVersions?: Record<string, string | number>): Promise<Config>;
  putWrites(config: Config, writes: [string, unknown][], taskId: string, taskPath?: string): Promise<void>;
  /** Resolves once everything that was written is on its way. */
  settled(): Promise<void>;
}

interface Base {
  serde: Serde;
}

export interface SaverOptions {
  /** Each write is answered once it is in the log. */
  durable: boolean;
  /** Members of the configurable that nothing may hold. */
  hidden?: ReadonlySet<string>;
  /** A thread that had no checkpoint before this job: what was not written here is not there. */
  freshThread?: string;
  /** The checkpoint that an update names. */
  at?: string | undefined;
}

type SaverClass = new (job: Job, options: SaverOptions) => object;

export function makeSaver(library: Library, job: Job, options: SaverOptions): Saver {
  return new (classFor(library))(job, options) as unknown as Saver;
}

const classes = new WeakMap<object, SaverClass>();

function classFor(library: Library): SaverClass {
  const known = classes.get(library.BaseCheckpointSaver);
  if (known !== undefined) return known;
  const made = savers(library.BaseCheckpointSaver);
  classes.set(library.BaseCheckpointSaver, made);
  return made;
}

function savers(BaseSaver: new () => Base): SaverClass {
  return class LanglogSaver extends BaseSaver implements Saver {
    readonly #job: Job;
    readonly #durable: boolean;
    readonly #hidden: ReadonlySet<string>;
    readonly #freshThread: string | undefined;
    readonly #at: string | undefined;
    /** Namespaces of the fresh thread that were written to. */
    readonly #written = new Set<string>();
    #turn: Promise<unknown> = Promise.resolve();
    #unanswered = 0;

    constructor(job: Job, { durable, hidden, freshThread, at }: SaverOptions) {
      super();
      this.#job = job;
      this.#durable = durable;
      this.#hidden = hidden ?? new Set();
      this.#freshThread = freshThread;
      this.#at = at;
    }

    /** Grows as text. The random half keeps branches apart that count on from the same version. */
    getNextVersion(current: string | number | undefined): string {
      const number = typeof current === "number" ? current : Number.parseInt(current ?? "0", 10) || 0;
      const random = Math.floor(Math.random() * 16 ** RANDOM_DIGITS).toString(16);
      return `${String(number + 1).padStart(16, "0")}.${random.padStart(RANDOM_DIGITS, "0")}`;
    }

    async getTuple(config: Config): Promise<CheckpointTuple | undefined> {
      const [thread, namespace] = space(config);
      if (thread === this.#freshThread && !this.#written.has(namespace)) return undefined;
      await this.#turn;
      const stored = await this.#job.call<Stored | null>("get", [thread, namespace, config.configurable?.checkpoint_id || null]);
      return stored === null ? undefined : this.#tuple(stored);
    }

    async *list(config: Config, options: ListOptions = {}): AsyncGenerator<CheckpointTuple> {
      const configurable = config.configurable ?? {};
      const filter = options.filter === undefined || Object.keys(options.filter).length === 0 ? null : json(options.filter);
      await this.#turn;
      let page = await this.#job.call<[number, Stored[]]>("list", [
        configurable.thread_id ?? null,
        configurable.checkpoint_ns ?? null,
        configurable.checkpoint_id || null,
        options.before?.configurable?.checkpoint_id || null,
        filter,
        options.limit ?? null,
      ]);
      const [handle] = page;
      try {
        for (;;) {
          for (const stored of page[1]) yield await this.#tuple(stored);
          if (page[0] === 0) return;
          page = await this.#job.call<[number, Stored[]]>("next", [handle]);
        }
      } finally {
        if (page[0] !== 0 && !this.#job.dropped) this.#job.note("close", [handle]);
      }
    }

    async put(
      config: Config,
      checkpoint: Checkpoint,
      metadata: Record<string, unknown>,
      newVersions?: Record<string, string | number>,
    ): Promise<Config> {
      const [thread, namespace] = space(config);
      this.#written.add(namespace);
      const values = checkpoint.channel_values;
      const { channel_values: _, ...rest } = checkpoint;
      const versions: Record<string, string> = {};
      for (const [channel, version] of Object.entries(checkpoint.channel_versions)) {
        if (channel in values) versions[channel] = String(version);
      }
      // nodes may go on changing the values: they are encoded now
      const whole = this.#dumped(rest);
      const changed = Object.entries(newVersions ?? checkpoint.channel_versions).filter(([channel]) => channel in values);
      const blobs = changed.map(async ([channel, version]) => [channel, String(version), ...(await this.#dumped(values[channel], channel))]);
      const saved = json({ ...said(config, this.#hidden), ...this.#addressed(namespace, metadata), ...metadata });
      const parent = config.configurable?.checkpoint_id || null;
      await this.#write("put", async () => {
        const [type, data] = await whole;
        return [thread, namespace, parent, checkpoint.id, type, data, saved, versions, await Promise.all(blobs)];
      });
      return configOf(thread, namespace, checkpoint.id);
    }

    async putWrites(config: Config, writes: [string, unknown][], taskId: string, taskPath = ""): Promise<void> {
      const [thread, namespace] = space(config);
      const encoded = writes.map(async ([channel, value], index) => {
        return [WRITES_IDX[channel] ?? index, channel, ...(await this.#dumped(value, channel))];
      });
      const checkpoint = config.configurable?.checkpoint_id ?? "";
      await this.#write("writes", async () => [thread, namespace, checkpoint, taskId, taskPath, await Promise.all(encoded)]);
    }

    async deleteThread(threadId: string): Promise<void> {
      await this.#turn;
      await this.#job.call("delete", [threadId]);
    }

    async getDeltaChannelHistory(options: { config: Config; channels: string[] }): Promise<Record<string, { writes: PendingWrite[]; seed?: unknown }>> {
      const { config, channels } = options;
      if (channels.length === 0) return {};
      const [thread, namespace] = space(config);
      await this.#turn;
      type History = Record<string, [[string, string, string, Uint8Array][], Encoded | null]>;
      const history = await this.#job.call<History>("lineage", [thread, namespace, config.configurable?.checkpoint_id || null, channels]);
      const result: Record<string, { writes: PendingWrite[]; seed?: unknown }> = {};
      for (const [channel, [writes, seed]] of Object.entries(history)) {
        result[channel] = { writes: await this.#writes(writes) };
        if (seed !== null) result[channel].seed = await this.#loaded(...seed);
      }
      return result;
    }

    async settled(): Promise<void> {
      await this.#turn.catch(() => undefined);
    }

    /** Sends what `encoded` gives once everything before it was sent. */
    async #write(name: string, encoded: () => Promise<unknown[]>): Promise<void> {
      const before = this.#turn;
      const sent = (async () => {
        const args = await encoded();
        await before.catch(() => undefined);
        return this.#send(name, args);
      })();
      this.#turn = sent.catch(() => undefined);
      const answer = await sent;
      await answer.done;
    }

    /** The answer is wrapped: who comes next waits for the sending alone. */
    #send(name: string, args: unknown[]): { done: Promise<unknown> } {
      this.#unanswered += sizeOf(args);
      if (!this.#durable && this.#unanswered < UNANSWERED_BYTES) {
        this.#job.note(name, [...args, false]);
        return { done: Promise.resolve() };
      }
      this.#unanswered = 0;
      return { done: this.#job.call(name, [...args, this.#durable]) };
    }

    /** Addresses in the metadata that the library of Python notes: of a subgraph the outermost one, of an update where it was made. */
    #addressed(namespace: string, metadata: Record<string, unknown>): Record<string, unknown> {
      if (namespace !== "") return { checkpoint_ns: namespace.split("|", 1)[0] };
      return metadata["source"] === "update" && this.#at !== undefined ? { checkpoint_id: this.#at } : {};
    }

    /**
     * Throws for a value that has no JSON: its empty text could not be read again, nor the thread's state with it; and for a list that would
     * hold the event loop for minutes.
     */
    async #dumped(value: unknown, channel = ""): Promise<Encoded> {
      if (typeof value === "function" || typeof value === "symbol") {
        throw new TypeError(`'${channel}' of the state is a ${typeof value}, which a checkpoint cannot hold`);
      }
      const length = excessiveLength(value);
      if (length !== null) throw new RangeError(`'${channel}' of the state has a list of ${length} elements, which a checkpoint cannot hold`);
      const [type, data] = await this.serde.dumpsTyped(value === undefined ? null : value);
      return [TAG + type, data];
    }

    async #loaded(type: string, data: Uint8Array): Promise<unknown> {
      if (!type.startsWith(TAG)) {
        throw new TypeError("a checkpoint of this thread was written by a graph in Python, whose values a graph in JavaScript cannot read");
      }
      const own = type.slice(TAG.length);
      // bytes become the graph's: not a view into a message
      return this.serde.loadsTyped(own, own === "bytes" ? new Uint8Array(data) : data);
    }

    async #writes(writes: [string, string, string, Uint8Array][]): Promise<PendingWrite[]> {
      return Promise.all(writes.map(async ([task, channel, type, data]): Promise<PendingWrite> => [task, channel, await this.#loaded(type, data)]));
    }

    async #tuple(stored: Stored): Promise<CheckpointTuple> {
      const [thread, namespace, id, parent, type, data, metadata, values, writes] = stored;
      const checkpoint = (await this.#loaded(type, data)) as Checkpoint;
      const loaded = Object.entries(values).map(async ([channel, blob]) => [channel, await this.#loaded(...blob)] as const);
      checkpoint.channel_values = Object.fromEntries(await Promise.all(loaded));
      const tuple: CheckpointTuple = {
        config: configOf(thread, namespace, id),
        checkpoint,
        metadata: JSON.parse(Buffer.from(metadata).toString()) as Record<string, unknown>,
        pendingWrites: await this.#writes(writes),
      };
      if (parent !== null) tuple.parentConfig = configOf(thread, namespace, parent);
      return tuple;
    }
  };
}

/** What a checkpoint's metadata say of the run: its metadata, and what its configurable says in scalars. */
function said(config: Config, hidden: ReadonlySet<string>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(config.configurable ?? {})) {
    const scalar = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    if (scalar && !name.startsWith("__") && !hidden.has(name) && !OF_THE_LIBRARY.has(name)) found[name] = value;
  }
  for (const [name, value] of Object.entries(config.metadata ?? {})) {
    if (!name.startsWith("__") && !hidden.has(name) && !ADDRESS.has(name) && !OF_TRACES.has(name)) found[name] = value;
  }
  const parents = config.configurable?.checkpoint_map;
  return parents === undefined || Object.keys(parents).length === 0 ? found : { ...found, checkpoint_map: parents };
}

/** Where a checkpoint is, which is beside its metadata. */
const ADDRESS = new Set(["checkpoint_id", "checkpoint_ns", "checkpoint_map"]);
const OF_THE_LIBRARY = new Set([
  ...ADDRESS,
  "thread_id",
  "langgraph_step",
  "langgraph_node",
  "langgraph_triggers",
  "langgraph_path",
  "langgraph_checkpoint_ns",
]);
/** Marks of the library's for traces, which the library of Python keeps out of checkpoints. */
const OF_TRACES = new Set(["ls_integration"]);

function space(config: Config): [string, string] {
  const configurable = config.configurable ?? {};
  if (configurable.thread_id === undefined) throw new TypeError('a checkpoint needs "thread_id" in the configurable');
  return [String(configurable.thread_id), configurable.checkpoint_ns ?? ""];
}

function configOf(thread: string, namespace: string, id: string): Config {
  return { configurable: { thread_id: thread, checkpoint_ns: namespace, checkpoint_id: id } };
}

function sizeOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.length;
  if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + sizeOf(each), 0);
  return 16;
}
