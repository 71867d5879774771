/** The store that nodes get: each batch is one call to the worker, whose store it is. */
import type { Job } from "../job.js";
import type { Library } from "../library.js";
import { jsonText } from "../values.js";

interface Item {
  value: Record<string, unknown>;
  key: string;
  namespace: string[];
  createdAt: Date;
  updatedAt: Date;
  score?: number;
}
type Given = [key: string, namespace: string[], value: Uint8Array, created: string, updated: string, score: number | null];

interface Operation {
  namespace?: string[];
  namespacePrefix?: string[];
  key?: string;
  value?: unknown;
  index?: false | string[];
  filter?: unknown;
  query?: string;
  limit?: number;
  offset?: number;
  matchConditions?: { matchType: string; path: string[] }[];
  maxDepth?: number;
}

export function makeStore(library: Library, job: Job): object {
  return new (classFor(library))(job);
}

const classes = new WeakMap<object, new (job: Job) => object>();

function classFor(library: Library): new (job: Job) => object {
  const known = classes.get(library.BaseStore);
  if (known !== undefined) return known;
  const made = class LanglogStore extends library.BaseStore {
    readonly #job: Job;

    constructor(job: Job) {
      super();
      this.#job = job;
    }

    async batch(operations: Operation[]): Promise<unknown[]> {
      const sent = operations.map(request);
      const results = await this.#job.call<unknown[]>("store", [sent]);
      return results.map((result, n) => readable(sent[n]![0], result));
    }

    start(): void {}

    stop(): void {}

    /** The library prints stores among its values. */
    toJSON(): string {
      return "[LanglogStore]";
    }
  };
  classes.set(library.BaseStore, made);
  return made;
}

type Request = [kind: "get" | "put" | "search" | "namespaces", ...args: unknown[]];

function request(op: Operation): Request {
  if (op.namespacePrefix !== undefined) {
    const filter = op.filter === undefined || op.filter === null ? null : jsonText(op.filter);
    return ["search", op.namespacePrefix, filter, op.limit ?? 10, op.offset ?? 0, op.query ?? null];
  }
  if (op.key !== undefined && op.namespace !== undefined) {
    if (!("value" in op)) return ["get", op.namespace, op.key];
    const value = op.value === null || op.value === undefined ? null : jsonText(op.value);
    return ["put", op.namespace, op.key, value, op.index ?? null];
  }
  const conditions = (op.matchConditions ?? []).map(({ matchType, path }) => [matchType, path]);
  return ["namespaces", conditions, op.maxDepth ?? null, op.limit ?? 100, op.offset ?? 0];
}

function readable(kind: Request[0], result: unknown): unknown {
  if (kind === "get") return result === null ? null : item(result as Given);
  if (kind === "search") return (result as Given[]).map(item);
  return kind === "put" ? undefined : result;
}

function item([key, namespace, value, created, updated, score]: Given): Item {
  const made: Item = {
    value: JSON.parse(Buffer.from(value).toString()) as Record<string, unknown>,
    key,
    namespace,
    createdAt: new Date(created),
    updatedAt: new Date(updated),
  };
  if (score !== null) made.score = score;
  return made;
}
