// One-line summaries of events, and the commands that show them in a terminal. Pure.
import { shortType } from "../../api/names";
import type { AuditEvent, Json } from "../../api/types";
import { bytes, plural, shortId } from "../../ui/format";
import { isFields } from "../../ui/messages";

export function summary(event: AuditEvent): string {
  const data = event.data;
  if (data === null) return "sealed, or no longer in the log";
  const said = (name: string): string => (typeof data[name] === "string" || typeof data[name] === "number" ? String(data[name]) : "");
  switch (shortType(event.type)) {
    case "checkpoint.written": {
      const step = isFields(data["metadata"]) ? String(data["metadata"]["step"] ?? "") : "";
      const changed = isFields(data["changed"]) ? Object.keys(data["changed"]) : [];
      return `${said("namespace") === "" ? "" : `${said("namespace").split(":")[0]}: `}step ${step}, changed ${changed.filter((name) => !name.startsWith("branch:")).join(", ") || "nothing"} (${bytes(Number(data["bytes"] ?? 0))})`;
    }
    case "checkpoint.writes": {
      const channels = Array.isArray(data["writes"]) ? data["writes"].flatMap((one) => (isFields(one) && typeof one["channel"] === "string" ? [one["channel"]] : [])) : [];
      return `${said("node") || "outside the graph"} wrote ${channels.filter((name) => !name.startsWith("branch:")).join(", ") || "nothing"}`;
    }
    case "checkpoint.steps": {
      const steps = Array.isArray(data["steps"]) ? data["steps"].filter(isFields) : [];
      return steps.map((step) => summary({ ...event, type: String(step["type"]), data: step })).join("; ");
    }
    case "run.created":
      return `graph ${said("graph_id")}${said("dispatched") === "" ? "" : ", dispatched"}`;
    case "run.dispatched":
      return `attempt ${said("attempt")}`;
    case "run.started":
      return `attempt ${said("attempt")} on worker ${shortId(said("worker"))}`;
    case "run.failed": {
      const error: { [name: string]: Json } = isFields(data["error"]) ? data["error"] : {};
      return `${String(error["error"] ?? "")}: ${String(error["message"] ?? "")}`.slice(0, 200);
    }
    case "run.frames":
      return plural(Number(data["count"] ?? 0), "frame");
    case "thread.updated":
    case "thread.created":
      return isFields(data["metadata"]) ? Object.keys(data["metadata"]).join(", ") : "";
    default:
      return said("status");
  }
}

/** The terminal command that shows the record. */
export function command(event: AuditEvent, thread: string): string {
  const quoted = (text: string): string => (/^[\w.:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  if (event.run_id !== null) return `langlog log show ${quoted(event.run_id)} --json`;
  return `langlog log export --thread ${quoted(thread)} --type ${quoted(event.type)}`;
}

/** Which command an event results from; the same for all events of it. Null for what a worker recorded. */
export function causeKey(event: AuditEvent): string | null {
  return event.cause === null ? null : `${event.cause.partition}-${event.cause.offset}`;
}
