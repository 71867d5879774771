/**
 * What graph code writes to the console, as lines of langlog's log that name the run: it is known by the asynchronous context.
 *
 * The worker writes the log on the loop that serves all its runs, so lines are counted: of more than `LINES_MAX` in a second the rest is
 * left out, and the next line says how many.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { format } from "node:util";
import { textOf } from "./errors.js";
import type { Connection } from "./connection.js";
import type { Job } from "./job.js";

const LEVELS = { debug: "debug", trace: "debug", log: "info", info: "info", warn: "warning", error: "error" } as const;
const TEXT_CHARACTERS_MAX = 20_000;
export const LINES_MAX = 1_000;
const WINDOW_MS = 1_000;

const jobs = new AsyncLocalStorage<Job>();

/** What happens within `work`, and whatever it causes, belongs to the job. */
export function within<T>(job: Job, work: () => T): T {
  return jobs.run(job, work);
}

/** Whether one more line may be sent now, and how many were left out before it. */
export class Lines {
  #begun = 0;
  #count = 0;
  #leftOut = 0;

  /** `room`: whether the worker reads what is sent. */
  take(now: number, room = true): { sent: boolean; leftOut: number } {
    if (now - this.#begun >= WINDOW_MS) {
      this.#begun = now;
      this.#count = 0;
    }
    if (this.#count >= LINES_MAX || !room) {
      this.#leftOut++;
      return { sent: false, leftOut: 0 };
    }
    this.#count++;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return { sent: true, leftOut };
  }
}

export function captureConsole(connection: Connection): void {
  const lines = new Lines();
  const send = (level: string, text: string): void => {
    connection.send({ t: "log", job: jobs.getStore()?.id ?? 0, level, text: text.toWellFormed() });
  };
  for (const [method, level] of Object.entries(LEVELS)) {
    (console as unknown as Record<string, unknown>)[method] = (...values: unknown[]): void => {
      // of a graph that never yields nothing is read: what it writes would fill this process's memory
      const { sent, leftOut } = lines.take(Date.now(), !connection.crowded);
      if (!sent) return;
      if (leftOut > 0) send("warning", `${leftOut} lines were left out: more than ${LINES_MAX} in a second, or more than is read`);
      const text = formatted(values);
      send(level, text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : text);
    };
  }
}

/** As the console writes them; a value whose methods throw says so, and does not fail the graph. */
function formatted(values: unknown[]): string {
  try {
    return format(...values);
  } catch (error) {
    return `a line that cannot be written: ${textOf(error)}`;
  }
}
