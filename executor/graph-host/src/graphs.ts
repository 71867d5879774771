/**
 * The project's graphs: loaded by file and export, and opened for one use at a time.
 *
 * Loading happens once, when the worker asks for it; a graph that does not load ends that with `GraphLoadError`, which says file, line and
 * why. `open` gives a graph with this job's checkpointer and store: of a static graph an object that inherits from it, or what its
 * function makes.
 */
import { pathToFileURL } from "node:url";
import { described, placeOf } from "./errors.js";
import type { Config, Graph, Library } from "./library.js";
import { libraryOf } from "./library.js";
import type { GraphFile } from "./protocol.js";

export class GraphLoadError extends Error {
  constructor(
    readonly graphId: string,
    readonly reason: string,
    readonly file: string | null,
    readonly line: number | null,
  ) {
    super(reason);
  }
}

type Factory = (config: Config, runtime: object) => unknown;

interface Source {
  file: string;
  graph: Graph | Factory;
}

export interface Opened {
  graph: Graph;
  library: Library;
  file: string;
}

/** For what a graph is opened; a function that makes graphs is told. */
export type AccessContext = "threads.create_run" | "threads.read" | "threads.update" | "assistants.read";

export interface Opening {
  config: Config;
  access: AccessContext;
  context?: unknown;
  checkpointer?: (library: Library) => unknown;
  store?: (library: Library) => unknown;
}

export class Graphs {
  readonly #sources = new Map<string, Source>();
  /** The release of the library. */
  langgraph = "unknown";

  /** Throws GraphLoadError for the first that does not load. */
  async load(files: GraphFile[]): Promise<void> {
    for (const each of files) {
      let library: Library;
      try {
        library = await libraryOf(each.file);
      } catch (error) {
        const reason = `its @langchain/langgraph cannot be imported: ${described(error).message}`;
        throw new GraphLoadError(each.id, reason, each.file, null);
      }
      this.langgraph = library.version;
      this.#sources.set(each.id, { file: each.file, graph: await loaded(each) });
    }
  }

  get described(): { id: string; static: boolean }[] {
    return [...this.#sources].map(([id, { graph }]) => ({ id, static: typeof graph !== "function" }));
  }

  async open(graphId: string, opening: Opening): Promise<Opened> {
    const source = this.#sources.get(graphId);
    if (source === undefined) throw new Error(`Graph '${graphId}' is not part of this project`);
    const library = await libraryOf(source.file);
    const graph =
      typeof source.graph === "function" ? compiled(await source.graph(opening.config, runtimeOf(opening))) : source.graph;
    if (graph === null) throw new TypeError(`the function of graph '${graphId}' gave something that is not a graph`);
    if (graph.nodes === undefined) return { graph, library, file: source.file }; // one that is elsewhere keeps its own threads
    const named = graph.name === undefined || graph.name === "LangGraph" ? graphId : graph.name;
    const ready = Object.create(graph, {
      checkpointer: own(opening.checkpointer?.(library)),
      store: own(opening.store?.(library)),
      name: own(named),
    }) as Graph;
    return { graph: ready, library, file: source.file };
  }
}

function own(value: unknown): PropertyDescriptor {
  return { value, writable: true, enumerable: true, configurable: true };
}

function runtimeOf(opening: Opening): object {
  const executing = opening.access === "threads.create_run";
  return { accessContext: opening.access, executionRuntime: executing ? { context: opening.context } : null };
}

async function loaded(each: GraphFile): Promise<Graph | Factory> {
  let target: unknown;
  try {
    const module = (await import(pathToFileURL(each.file).href)) as Record<string, unknown>;
    target = exported(module, each.export);
  } catch (error) {
    throw failure(each, error);
  }
  if (target === undefined) throw new GraphLoadError(each.id, `there is no export '${each.export}' in it`, each.file, null);
  if (typeof target === "function" && !isGraph(target)) return target as Factory;
  try {
    const graph = compiled(await target);
    if (graph !== null) return graph;
  } catch (error) {
    throw failure(each, error);
  }
  const reason = `'${each.export}' is neither a graph nor a function that makes one`;
  throw new GraphLoadError(each.id, reason, each.file, null);
}

function exported(module: Record<string, unknown>, name: string): unknown {
  const found = name in module ? module[name] : (module["default"] as Record<string, unknown> | undefined)?.[name];
  return found;
}

function failure(each: GraphFile, error: unknown): GraphLoadError {
  const { error: name, message } = described(error);
  const place = placeOf(error);
  return new GraphLoadError(each.id, `${name}: ${message}`, place?.file ?? each.file, place?.line ?? null);
}

interface Buildable {
  compile?(): Graph;
  graph?: unknown;
}

/** A compiled graph; null for any other value. What `createAgent` returns wraps one. */
function compiled(made: unknown): Graph | null {
  if (typeof made !== "object" || made === null) return null;
  const buildable = made as Buildable;
  if (!isGraph(made) && typeof buildable.compile === "function") return buildable.compile();
  if (typeof buildable.graph === "object" && buildable.graph !== null && isGraph(buildable.graph)) return buildable.graph;
  return isGraph(made) ? made : null;
}

function isGraph(value: object): value is Graph {
  const graph = value as Partial<Graph>;
  return graph.lg_is_pregel === true || (typeof graph.stream === "function" && typeof graph.getState === "function");
}
