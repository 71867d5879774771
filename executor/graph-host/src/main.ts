/** The graph host: a process of Node that a worker starts, which loads the project's graphs in JavaScript and TypeScript and runs them. */
import { isMainThread } from "node:worker_threads";
import { Connection, watchWorker } from "./connection.js";
import { bundle, type BundleSpec } from "./app/bundle.js";
import { serveCode, type Spec } from "./app/serve.js";
import { described, reportUnhandled } from "./errors.js";
import { refuseExit } from "./exit.js";
import { GraphLoadError, Graphs } from "./graphs.js";
import { Job } from "./job.js";
import { registerHooks } from "./loading/hooks.js";
import { captureConsole, within } from "./output.js";
import type { ToHost } from "./protocol.js";
import { answer, Refused } from "./questions.js";
import { type Ended, execute, type RunBody } from "./run.js";

export { load, resolve } from "./loading/hooks.js";

/** The argument by which the worker starts it; without it nothing happens, as in the thread of the hooks. */
const SERVE = "serve";
/** The argument by which a gateway starts it, for `auth` and `http.app`. */
const CODE = "code";
/** The argument by which a gateway starts it, for `ui`. */
const BUNDLE = "bundle";

/** `socket`: the descriptor of this end. */
function serve(socket: number): void {
  const graphs = new Graphs();
  const jobs = new Map<number, Job>();
  refuseExit();
  const connection = new Connection(socket, (message) => void take(message));

  async function take(message: ToHost): Promise<void> {
    switch (message.t) {
      case "load":
        process.chdir(message.root);
        await load(message);
        break;
      case "run": {
        const body = parsed<RunBody>(message.body);
        const { run_id, thread_id, graph_id } = body;
        begin(new Job(message.job, { run_id, thread_id, graph_id }, connection), (job) => execute(job, graphs, body));
        break;
      }
      case "query": {
        const body = parsed<{ graph_id: string }>(message.body);
        begin(new Job(message.job, { graph_id: body.graph_id }, connection), (job) => answered(job, message.kind, body));
        break;
      }
      case "answer":
        jobs.get(message.job)?.answered(message.call, message.value);
        break;
      case "refuse":
        jobs.get(message.job)?.refused(message.call, message.error, message.message);
        break;
      case "stop":
        jobs.get(message.job)?.stop(message.how);
        if (message.how === "drop") jobs.delete(message.job);
        break;
      case "hold":
        jobs.get(message.job)?.hold(message.on);
        break;
      case "ping": {
        const { rss, heapUsed } = process.memoryUsage();
        connection.send({ t: "pong", n: message.n, rss, heap: heapUsed });
        connection.flush();
        break;
      }
    }
  }

  async function load(message: Extract<ToHost, { t: "load" }>): Promise<void> {
    try {
      await graphs.load(message.graphs);
      connection.send({ t: "loaded", node: process.versions.node, langgraph: graphs.langgraph, graphs: graphs.described });
    } catch (error) {
      const failure = error instanceof GraphLoadError ? error : new GraphLoadError("", described(error).message, null, null);
      connection.send({ t: "refused", graph_id: failure.graphId, reason: failure.reason, file: failure.file, line: failure.line });
    }
  }

  function begin(job: Job, work: (job: Job) => Promise<unknown>): void {
    jobs.set(job.id, job);
    void within(job, async () => {
      let result: unknown;
      try {
        result = await work(job);
      } catch (error) {
        result = { how: "failed", error: described(error) } satisfies Ended;
      }
      jobs.delete(job.id);
      try {
        job.end(result);
      } catch (error) {
        job.end({ how: "failed", error: described(error) } satisfies Ended); // a result that is too large to be sent
      }
    });
  }

  async function answered(job: Job, kind: string, body: { graph_id: string }): Promise<unknown> {
    try {
      return { answer: await answer(job, graphs, kind, body) };
    } catch (error) {
      return error instanceof Refused ? { refused: { status: error.status, detail: error.message } } : { error: described(error) };
    }
  }

  captureConsole(connection);
  watchWorker();
  // of code that nobody waits for: the graphs go on, as those in Python do
  reportUnhandled();
  // the worker drains and ends this process; a terminal's Ctrl-C reaches both
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => undefined);
}

function parsed<T>(body: Uint8Array): T {
  return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()) as T;
}

if (isMainThread && process.argv[2] === SERVE) {
  process.setSourceMapsEnabled(true);
  registerHooks(import.meta.url);
  serve(Number(process.argv[3]));
}

if (isMainThread && process.argv[2] === CODE) {
  process.setSourceMapsEnabled(true);
  registerHooks(import.meta.url);
  void serveCode(JSON.parse(process.argv[3] ?? "") as Spec, Number(process.argv[4]));
}

if (isMainThread && process.argv[2] === BUNDLE) void bundle(JSON.parse(process.argv[3] ?? "") as BundleSpec, Number(process.argv[4]));
