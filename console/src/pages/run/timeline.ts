// A run as bars on one time axis, made of its events. Pure: `now` is an argument.
import { shortType } from "../../api/names";
import type { AuditEvent, Json } from "../../api/types";
import { shortId } from "../../ui/format";
import { isFields } from "../../ui/messages";
import type { RunningNode } from "./running";

export type Tone = "gap" | "attempt" | "node" | "step" | "bad" | "wait";

export interface Bar {
  id: string;
  label: string;
  /** Explanation, if the label is not enough. */
  note: string;
  depth: number;
  /** Milliseconds since 1970. */
  start: number;
  /** Null: still active. */
  end: number | null;
  tone: Tone;
  /** Checkpoint from which a node began. */
  checkpoint: { namespace: string; id: string } | null;
  events: AuditEvent[];
}

export interface Failure {
  node: string | null;
  error: string;
  message: string;
  /** The state that the failed node began from. */
  checkpoint: { namespace: string; id: string } | null;
  /** The last checkpoint of the thread itself: from which a new run continues. */
  from: string | null;
}

export interface Timeline {
  start: number;
  /** Null: the run has not ended. */
  end: number | null;
  bars: Bar[];
  /** A worker executes it now. */
  isWorkedOn: boolean;
  failure: Failure | null;
  /** End of the run; null while it is in flight. */
  outcome: string | null;
}

const ENDS = new Set(["run.succeeded", "run.failed", "run.cancelled", "run.timed_out", "run.rolled_back"]);

/** Events that share a record, one by one: checkpoints and writes, and a run that is dispatched as it is created. */
function eachStep(event: AuditEvent): AuditEvent[] {
  if (shortType(event.type) === "run.created" && typeof event.data?.["dispatched"] === "string") {
    return [event, { ...event, type: "langlog.run.dispatched.v1", data: { attempt: 1, reason: event.data["dispatched"] } }];
  }
  const steps = event.data?.["steps"];
  if (shortType(event.type) !== "checkpoint.steps" || event.time === null || !Array.isArray(steps)) return [event];
  const begun = Math.round(timeOf(event) * 1000);
  return steps.filter(isFields).map((step) => ({ ...event, type: text(step["type"]), time: timeText(begun + Number(step["after_us"] ?? 0)), data: step }));
}

/** `running`: nodes that the run executes now, of the thread's state. */
export function timelineOf(records: readonly AuditEvent[], running: readonly RunningNode[] = []): Timeline | null {
  const events = records.flatMap(eachStep);
  const first = events.find((event) => event.time !== null);
  if (first === undefined) return null;
  const start = timeOf(first);
  const bars: Bar[] = [];
  const written = new Map<string, number>();
  const tasks = new Map<string, Bar>();
  let waiting: { since: number; why: string; event: AuditEvent } | null = null;
  let attempt: Bar | null = null;
  let number = 0;
  let end: number | null = null;
  let outcome: string | null = null;
  let failure: Failure | null = null;
  let lastOfThread: string | null = null;
  let failedAt: Bar | null = null;

  const bar = (made: Omit<Bar, "id" | "note" | "checkpoint" | "events"> & Partial<Bar>): Bar => {
    const one: Bar = { id: `${bars.length}`, note: "", checkpoint: null, events: [], ...made };
    bars.push(one);
    return one;
  };
  const waited = (until: number | null, events: AuditEvent[]): void => {
    if (waiting === null) return;
    if (until === null || until > waiting.since) bar({ label: waiting.why, depth: 0, start: waiting.since, end: until, tone: "gap", events: [waiting.event, ...events] });
    waiting = null;
  };

  for (const event of events) {
    if (event.time === null) continue;
    const at = timeOf(event);
    const data = event.data ?? {};
    const type = shortType(event.type);
    switch (type) {
      case "run.created":
        waiting = { since: at, why: delayOf(data) ?? "Waited for its turn on the thread", event };
        break;
      case "run.dispatched": {
        const next = typeof data["attempt"] === "number" ? data["attempt"] : number + 1;
        if (attempt !== null && attempt.end === null) {
          attempt.end = at;
          attempt.tone = "bad";
          attempt.note += ", given up: its worker was lost or handed it back";
        }
        waited(at, [event]);
        number = next;
        waiting = { since: at, why: next > 1 ? `Waited for another worker` : "Waited for a worker", event };
        break;
      }
      case "run.started":
        waited(at, [event]);
        attempt = bar({ label: `Attempt ${String(data["attempt"] ?? number)}`, note: `on worker ${shortId(String(data["worker"] ?? "?"))}`, depth: 0, start: at, end: null, tone: "attempt", events: [event] });
        break;
      case "run.cancel_requested":
        bar({ label: "Cancel requested", depth: 0, start: at, end: at, tone: "wait", events: [event] });
        break;
      case "checkpoint.written": {
        const namespace = text(data["namespace"]);
        const id = text(data["checkpoint_id"]);
        written.set(`${namespace} ${id}`, at);
        if (namespace === "") lastOfThread = id;
        attempt?.events.push(event);
        break;
      }
      case "checkpoint.writes": {
        const node = text(data["node"]);
        if (node === "" || node === "__start__") break;
        const namespace = text(data["namespace"]);
        const checkpoint = { namespace, id: text(data["checkpoint_id"]) };
        const key = `${namespace} ${checkpoint.id} ${text(data["task_id"])}`;
        const channels = Array.isArray(data["writes"]) ? data["writes"].map((one) => (isFields(one) ? text(one["channel"]) : "")) : [];
        let task = tasks.get(key);
        if (task === undefined) {
          const from = written.get(`${namespace} ${checkpoint.id}`) ?? attempt?.start ?? at;
          task = bar({ label: node, depth: 1 + depthOf(namespace), start: from, end: at, tone: "node", checkpoint });
          tasks.set(key, task);
        }
        task.end = at;
        task.events.push(event);
        if (channels.includes("__error__")) {
          task.tone = "bad";
          task.note = "failed";
          // the innermost one is the cause: subgraphs report before the node that holds them
          failedAt ??= task;
        } else if (channels.includes("__interrupt__")) {
          task.tone = "wait";
          task.note = "asked a human";
        } else if (task.tone === "wait") {
          task.tone = "node";
          task.note = "";
        }
        break;
      }
      case "webhook.attempted":
        bar({ label: "Webhook", note: text(data["error"]) || String(data["status"] ?? ""), depth: 0, start: at, end: at, tone: data["error"] ? "bad" : "step", events: [event] });
        break;
      case "webhook.due_again":
        bar({ label: "Webhook", note: "due again", depth: 0, start: at, end: at, tone: "step", events: [event] });
        break;
      default:
        if (!ENDS.has(type)) break;
        waited(at, [event]);
        end = at;
        outcome = type.slice("run.".length).replace("_", " ");
        if (attempt !== null) {
          attempt.end = at;
          attempt.events.push(event);
          if (type !== "run.succeeded") attempt.tone = "bad";
          attempt.note += `, ${outcome}`;
        }
        if (type === "run.failed" || type === "run.timed_out") {
          const error = isFields(data["error"]) ? data["error"] : {};
          failure = {
            node: failedAt?.label ?? null,
            error: text(error["error"]) || (type === "run.timed_out" ? "Time over" : "Error"),
            message: text(error["message"]),
            checkpoint: failedAt?.checkpoint ?? null,
            from: lastOfThread,
          };
        }
    }
  }
  waited(null, []);
  const isWorkedOn = attempt !== null && attempt.end === null && end === null;
  if (attempt !== null && isWorkedOn) {
    const begun = attempt.start;
    // a state that was read a moment ago may name a node whose end is among the events
    const open = running.filter((one) => !tasks.has(`${one.namespace} ${one.checkpoint} ${one.task}`));
    for (const one of open) {
      const start = Math.max(begun, written.get(`${one.namespace} ${one.checkpoint}`) ?? begun);
      bar({ label: one.node, note: "running", depth: 1 + depthOf(one.namespace), start, end: null, tone: "node", checkpoint: { namespace: one.namespace, id: one.checkpoint } });
    }
    if (open.length === 0) {
      const since = Math.max(begun, ...bars.map((one) => one.end ?? 0));
      bar({ label: "Running", note: "no node has ended since", depth: 1, start: since, end: null, tone: "step" });
    }
  }
  // an attempt before its nodes, a node before those inside it
  const order = bars.map((one, index) => ({ one, index }));
  order.sort((a, b) => a.one.start - b.one.start || a.one.depth - b.one.depth || a.index - b.index);
  return { start, end, bars: order.map(({ one }) => one), isWorkedOn, failure, outcome };
}

function timeOf(event: AuditEvent): number {
  const text = event.time ?? "";
  // JavaScript keeps milliseconds; the microseconds are worth having where nodes take less
  const micro = /\.\d{3}(\d{3})/.exec(text)?.[1] ?? "0";
  return Date.parse(text) + Number(micro) / 1000;
}

function timeText(micros: number): string {
  const text = new Date(Math.floor(micros / 1000)).toISOString();
  return text.replace("Z", `${String(micros % 1000).padStart(3, "0")}Z`);
}

function delayOf(data: { [name: string]: Json }): string | null {
  const kwargs = isFields(data["kwargs"]) ? data["kwargs"] : {};
  const config = isFields(kwargs["config"]) ? kwargs["config"] : {};
  const configurable = isFields(config["configurable"]) ? config["configurable"] : {};
  const seconds = configurable["__after_seconds__"];
  return typeof seconds === "number" && seconds > 0 ? `Delayed by ${seconds} s, as its request specifies` : null;
}

function depthOf(namespace: string): number {
  return namespace === "" ? 0 : namespace.split("|").length;
}

function text(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

/** Marks of the axis: about `most` round times between 0 and `ms`. */
export function ticks(ms: number, most: number): number[] {
  if (!(ms > 0)) return [0];
  const rough = ms / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? 10 * power;
  return Array.from({ length: Math.floor(ms / step) + 1 }, (_, n) => n * step);
}
