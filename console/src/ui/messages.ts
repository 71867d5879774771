// Parts of messages of any library or provider. Pure. No member of a message is trusted to have its type.
import type { Json } from "../api/types";

export type Part =
  | { kind: "text"; text: string }
  | { kind: "reasoning"; text: string }
  | { kind: "image"; source: string }
  | { kind: "tool-call"; id: string; name: string; args: Json }
  | { kind: "other"; value: Json };

export interface Message {
  id: string;
  role: "human" | "ai" | "tool" | "system" | "other";
  /** Type of the message if it is no role, and the name of a tool. */
  name: string;
  parts: Part[];
  /** For a tool's answer: id of the call that it answers. */
  answers: string | null;
  failed: boolean;
  tokens: number | null;
  raw: Json;
}

type Fields = { [name: string]: Json };

const ROLES: Record<string, Message["role"]> = {
  human: "human", user: "human", HumanMessageChunk: "human", ai: "ai", assistant: "ai", AIMessageChunk: "ai",
  tool: "tool", ToolMessageChunk: "tool", function: "tool", system: "system", developer: "system", SystemMessageChunk: "system",
};
const IMAGE = /^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*$/;

export function isFields(value: Json | undefined): value is Fields {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function isMessage(value: Json): boolean {
  return isFields(value) && typeof (value["type"] ?? value["role"]) === "string" && "content" in value;
}

/** The channel of a state that holds the conversation: `messages`, or else the first list of messages. Null where there is none. */
export function conversationOf(values: Fields | null | undefined): { channel: string; messages: Message[] } | null {
  if (!isFields(values ?? null) || !values) return null;
  const names = ["messages", ...Object.keys(values).filter((name) => name !== "messages")];
  for (const channel of names) {
    const found = values[channel];
    if (Array.isArray(found) && found.length > 0 && found.every(isMessage)) return { channel, messages: found.map(messageOf) };
  }
  return null;
}

export function messageOf(value: Json, index = 0): Message {
  const fields: Fields = isFields(value) ? value : {};
  const type = text(fields["type"]) || text(fields["role"]);
  const role = ROLES[type] ?? "other";
  const parts = partsOf(fields["content"]);
  const extra = isFields(fields["additional_kwargs"]) ? fields["additional_kwargs"] : {};
  const thought = text(extra["reasoning_content"]);
  if (thought !== "" && !parts.some((part) => part.kind === "reasoning")) parts.unshift({ kind: "reasoning", text: thought });
  const calls = Array.isArray(fields["tool_calls"]) ? fields["tool_calls"] : [];
  for (const call of calls) {
    if (isFields(call)) parts.push({ kind: "tool-call", id: text(call["id"]), name: text(call["name"]) || "unnamed", args: call["args"] ?? null });
  }
  const usage = isFields(fields["usage_metadata"]) ? fields["usage_metadata"]["total_tokens"] : null;
  return {
    id: text(fields["id"]) || `#${index}`,
    role,
    name: text(fields["name"]) || (role === "other" ? type : ""),
    parts,
    answers: role === "tool" ? text(fields["tool_call_id"]) : null,
    failed: fields["status"] === "error",
    tokens: typeof usage === "number" ? usage : null,
    raw: value,
  };
}

function partsOf(content: Json | undefined): Part[] {
  if (typeof content === "string") return content === "" ? [] : [{ kind: "text", text: content }];
  if (!Array.isArray(content)) return content === null || content === undefined ? [] : [{ kind: "other", value: content }];
  return content.flatMap(partOf);
}

function partOf(block: Json): Part[] {
  if (typeof block === "string") return [{ kind: "text", text: block }];
  if (!isFields(block)) return [{ kind: "other", value: block }];
  switch (block["type"]) {
    case "text":
      return [{ kind: "text", text: text(block["text"]) }];
    case "reasoning":
    case "thinking":
      return [{ kind: "reasoning", text: text(block["reasoning"]) || text(block["thinking"]) || summaryOf(block["summary"]) }];
    case "image":
    case "image_url": {
      const source = imageOf(block);
      return source === null ? [{ kind: "other", value: block }] : [{ kind: "image", source }];
    }
    case "tool_call":
    case "tool_use":
      return []; // listed among the tool calls
    default:
      return [{ kind: "other", value: block }];
  }
}

/** A picture that is part of the message itself; null for one that lies elsewhere. */
function imageOf(block: Fields): string | null {
  const inner = isFields(block["image_url"]) ? block["image_url"]["url"] : isFields(block["source"]) ? block["source"]["data"] : undefined;
  const media = isFields(block["source"]) ? block["source"]["media_type"] : undefined;
  const data = text(block["base64"]) || text(block["data"]) || text(inner) || text(block["image_url"]);
  if (data === "") return null;
  const type = text(block["mime_type"]) || text(media) || "image/png";
  const source = data.startsWith("data:") ? data : /^https?:/i.test(data) ? "" : `data:${type};base64,${data}`;
  return IMAGE.test(source) ? source : null;
}

function summaryOf(summary: Json | undefined): string {
  return Array.isArray(summary) ? summary.map((one) => (isFields(one) ? text(one["text"]) : "")).join("\n") : "";
}

function text(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}
