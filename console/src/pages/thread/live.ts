// Updates of a thread by its stream: messages while they are written. Pure.
import type { Json } from "../../api/types";
import { isFields } from "../../ui/messages";

/** Messages by id, in the order in which they began. */
export type Writing = ReadonlyMap<string, Json>;

/** After one event of the stream (wire contract 6.2); the same object where it says nothing of messages. */
export function heard(writing: Writing, event: string, data: Json): Writing {
  if (event === "messages/partial" || event === "messages/complete") {
    const next = new Map(writing);
    for (const message of Array.isArray(data) ? data : []) {
      if (isFields(message) && typeof message["id"] === "string") next.set(message["id"], message);
    }
    return next;
  }
  if (event === "messages" && Array.isArray(data) && isFields(data[0]) && typeof data[0]["id"] === "string") {
    const next = new Map(writing);
    const id = data[0]["id"];
    next.set(id, joined(next.get(id), data[0]));
    return next;
  }
  return writing;
}

/** A message and the next piece of it. */
function joined(before: Json | undefined, chunk: { [name: string]: Json }): Json {
  if (!isFields(before)) return chunk;
  const [left, right] = [before["content"], chunk["content"]];
  if (typeof left === "string" && typeof right === "string") return { ...before, ...chunk, content: left + right };
  const blocks = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : typeof value === "string" && value !== "" ? [{ type: "text", text: value, index: 0 }] : []);
  const all: Json[] = [...blocks(left)];
  for (const block of blocks(right)) {
    const last = all.findIndex((one) => isFields(one) && isFields(block) && one["type"] === block["type"] && one["index"] === block["index"]);
    const same = all[last];
    if (!isFields(same) || !isFields(block)) {
      all.push(block);
      continue;
    }
    const grown: { [name: string]: Json } = { ...same };
    for (const [name, value] of Object.entries(block)) {
      const old = same[name];
      grown[name] = typeof old === "string" && typeof value === "string" && name !== "type" && name !== "id" ? old + value : value;
    }
    all[last] = grown;
  }
  return { ...before, ...chunk, content: all };
}

/** The messages of the state, then those that are still being written. */
export function withWriting(messages: readonly Json[], writing: Writing): Json[] {
  const known = new Set(messages.map((message) => (isFields(message) ? message["id"] : null)));
  return [...messages, ...[...writing].filter(([id]) => !known.has(id)).map(([, message]) => message)];
}
