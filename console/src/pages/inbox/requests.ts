// Texts of interrupts for people, and the answers that graphs expect. Pure.
import type { Json } from "../../api/types";
import { excerpt } from "../../ui/format";
import type { Schema } from "../../ui/schema";

export interface OpenInterrupt {
  interrupt_id: string;
  thread_id: string;
  run_id: string | null;
  assistant_id: string;
  graph_id: string;
  task_id: string;
  value: Json;
  response_schema: Schema | null;
  created_at: string;
  metadata: { [name: string]: Json };
}

export interface Outcome {
  thread_id: string;
  interrupt_id: string;
  status: "created" | "refused";
  run_id?: string;
  code?: number;
  detail?: string;
}

const isObject = (value: Json | undefined): value is { [name: string]: Json } => typeof value === "object" && value !== null && !Array.isArray(value);

const QUESTIONS = ["question", "description", "message", "prompt", "text", "title"];

/** The question in one text: of the members that graphs use for it, or the value itself. */
export function questionOf(value: Json): string {
  if (typeof value === "string") return value;
  if (isObject(value)) {
    for (const name of QUESTIONS) if (typeof value[name] === "string" && value[name] !== "") return value[name];
    const actions = actionsOf(value);
    if (actions.length > 0) return actions.map((action) => action.description || `${action.name}(${Object.keys(action.args).join(", ")})`).join("\n");
  }
  return excerpt(value, 2_000);
}

/** Details that distinguish interrupts with the same text: their calls, or other members, in one line. */
export function detailOf(value: Json, most: number): string {
  const actions = actionsOf(value);
  if (actions.length > 0) return actions.slice(0, 5).map((action) => `${action.name} ${excerpt(action.args, most)}`).join(" ").slice(0, most);
  if (!isObject(value)) return "";
  const question = questionOf(value);
  const others = Object.entries(value).filter(([, one]) => one !== question);
  return others.length === 0 ? "" : excerpt(Object.fromEntries(others), most);
}

export interface Action {
  name: string;
  args: { [name: string]: Json };
  description: string;
  allowed: string[];
}

/** The tool calls that LangChain's human-in-the-loop middleware asks about (`action_requests`, `review_configs`). */
export function actionsOf(value: Json): Action[] {
  if (!isObject(value) || !Array.isArray(value["action_requests"])) return [];
  const configs = Array.isArray(value["review_configs"]) ? value["review_configs"].filter(isObject) : [];
  return value["action_requests"].filter(isObject).map((request) => {
    const name = String(request["name"] ?? request["action"] ?? "?");
    const config = configs.find((one) => one["action_name"] === name);
    const allowed = Array.isArray(config?.["allowed_decisions"]) ? config["allowed_decisions"].map(String) : ["approve", "edit", "reject"];
    return { name, args: isObject(request["args"]) ? request["args"] : isObject(request["arguments"]) ? request["arguments"] : {}, description: typeof request["description"] === "string" ? request["description"] : "", allowed };
  });
}

export type Decision = { type: "approve" } | { type: "edit"; args: { [name: string]: Json } } | { type: "reject"; message: string };

/** Default choice among the allowed ones. */
export function firstDecision(action: Action): Decision {
  if (action.allowed.includes("approve")) return { type: "approve" };
  return action.allowed.includes("edit") ? { type: "edit", args: action.args } : { type: "reject", message: "" };
}

/** The response that the middleware expects: one decision for each action, in order. */
export function decisionsOf(actions: Action[], decisions: Decision[]): Json {
  return {
    decisions: actions.map((action, index): Json => {
      const decision = decisions[index] ?? { type: "approve" };
      if (decision.type === "edit") return { type: "edit", edited_action: { name: action.name, args: decision.args } };
      if (decision.type === "reject") return decision.message ? { type: "reject", message: decision.message } : { type: "reject" };
      return { type: "approve" };
    }),
  };
}

/** Quick answers for values without a schema: what most graphs understand. */
export const QUICK: { title: string; response: Json }[] = [
  { title: "Approve", response: true },
  { title: "Reject", response: false },
];

export const keyOf = (one: { thread_id: string; interrupt_id: string }): string => `${one.thread_id} ${one.interrupt_id}`;
