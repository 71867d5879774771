/** What graph code writes to the console, as lines of langlog's log that name the run: it is known by the asynchronous context. */
import { AsyncLocalStorage } from "node:async_hooks";
import { format } from "node:util";
import type { Connection } from "./connection.js";
import type { Job } from "./job.js";

const LEVELS = { debug: "debug", trace: "debug", log: "info", info: "info", warn: "warning", error: "error" } as const;
const TEXT_CHARACTERS_MAX = 20_000;

const jobs = new AsyncLocalStorage<Job>();

/** What happens within `work`, and whatever it causes, belongs to the job. */
export function within<T>(job: Job, work: () => T): T {
  return jobs.run(job, work);
}

export function captureConsole(connection: Connection): void {
  for (const [method, level] of Object.entries(LEVELS)) {
    (console as unknown as Record<string, unknown>)[method] = (...values: unknown[]): void => {
      const text = format(...values);
      const cut = text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : text;
      connection.send({ t: "log", job: jobs.getStore()?.id ?? 0, level, text: cut.toWellFormed() });
    };
  }
}
