// What a run answers, and where it resumed its thread. Pure.
import { shortType } from "../../api/names";
import type { AuditEvent, Json, Run } from "../../api/types";
import { isFields } from "../../ui/messages";

/** The answer that a run was created with; undefined for a run that answers nothing. */
export function answerOf(run: Run): Json | undefined {
  const command = run.kwargs?.["command"];
  if (!isFields(command) || command["resume"] == null) return undefined;
  const answer = command["resume"];
  // answers by the ids of their interrupts: of a single one, the answer is what matters
  if (!isFields(answer)) return answer;
  const ids = Object.keys(answer);
  return ids.length === 1 && /^[0-9a-f]{32}$/.test(ids[0] ?? "") ? answer[ids[0] as string] : answer;
}

/** The checkpoint of the thread itself that a run wrote its answers to. Null until an event tells it. */
export function resumedAt(events: readonly AuditEvent[]): string | null {
  for (const event of events) {
    const steps = shortType(event.type) === "checkpoint.steps" && Array.isArray(event.data?.["steps"]) ? event.data["steps"].filter(isFields) : [event.data ?? {}];
    for (const step of steps) {
      const writes = Array.isArray(step["writes"]) ? step["writes"].filter(isFields) : [];
      if (step["namespace"] === "" && typeof step["checkpoint_id"] === "string" && writes.some((one) => one["channel"] === "__resume__")) return step["checkpoint_id"];
    }
  }
  return null;
}
