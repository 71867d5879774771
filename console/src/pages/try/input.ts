// Converts the user's text and attachments to the input of a graph. Pure.
import type { Json } from "../../api/types";
import type { Schema } from "../../ui/schema";

export interface Attachment {
  name: string;
  type: string;
  /** Base64 of an image or another file; the text of a text file. */
  data: string;
  text: boolean;
}

export const ATTACHED_MOST = 8 * 1024 * 1024;

const isObject = (value: Json | undefined): value is { [name: string]: Json } => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a graph takes messages: then it is talked to. */
export function talks(schema: Schema | null | undefined): boolean {
  const properties = schema?.["properties"];
  return isObject(properties) && "messages" in properties;
}

/** A human message: text alone, or standard content blocks where something is attached. */
export function messageOf(text: string, attachments: Attachment[]): Json {
  if (attachments.length === 0) return { role: "user", content: text };
  const blocks: Json[] = text === "" ? [] : [{ type: "text", text }];
  for (const one of attachments) {
    if (one.text) blocks.push({ type: "text", text: `${one.name}:\n${one.data}` });
    else if (one.type.startsWith("image/")) blocks.push({ type: "image", base64: one.data, mime_type: one.type });
    else blocks.push({ type: "file", base64: one.data, mime_type: one.type || "application/octet-stream", filename: one.name });
  }
  return { role: "user", content: blocks };
}

export const isText = (type: string, name: string): boolean => type.startsWith("text/") || type === "application/json" || /\.(md|txt|csv|json|ya?ml|py|ts|js)$/i.test(name);

/** Raw events that are kept on the page, and the characters of their data together. */
const EVENTS_KEPT = 1_000;
const CHARACTERS_KEPT = 4_000_000;

/** The last events with one more, which is kept whatever its size. */
export function withLast<Event extends { size: number }>(events: readonly Event[], one: Event): Event[] {
  const kept = events.slice(1 - EVENTS_KEPT);
  let left = CHARACTERS_KEPT - one.size;
  const from = kept.findLastIndex((event) => (left -= event.size) < 0) + 1;
  return [...kept.slice(from), one];
}
