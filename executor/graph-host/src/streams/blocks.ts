/**
 * Messages as the streaming protocol sends them (wire contract §9.2): content blocks that start, grow and finish. The same as
 * `message_blocks.py` makes of messages in Python.
 */
import { isChunk, type Json, type Message } from "../library.js";

type Block = Record<string, Json>;
type Event = Record<string, Json>;

const ROLES: Record<string, string> = { human: "human", system: "system" };
/** Members of a block that its finish alone carries. */
const LARGE = new Set(["args", "data", "base64", "output", "value"]);
const TEXTS: Record<string, [member: string, delta: string]> = { text: ["text", "text-delta"], reasoning: ["reasoning", "reasoning-delta"] };
const CALLS = new Set(["tool_call_chunk", "server_tool_call_chunk"]);

export class MessageBlocks {
  readonly #open = new Map<string, { namespace: readonly string[]; blocks: Blocks }>();

  /** The events of a chunk or of a whole message. Results of tools and removals are no messages here. */
  take(namespace: readonly string[], message: Message): Event[] {
    const kind = kindOf(message);
    if (kind === "tool" || kind === "remove") return [];
    if (!isChunk(message)) {
      const whole = new Blocks(message);
      return [whole.start(), ...whole.add(message), ...whole.finish()];
    }
    const key = JSON.stringify([namespace, message.id ?? ""]);
    const events: Event[] = [];
    let known = this.#open.get(key);
    if (known === undefined) {
      known = { namespace, blocks: new Blocks(message) };
      this.#open.set(key, known);
      events.push(known.blocks.start());
    }
    events.push(...known.blocks.add(message));
    if ((message as Json).chunk_position === "last" || (message as Json).chunkPosition === "last") {
      this.#open.delete(key);
      events.push(...known.blocks.finish());
    }
    return events;
  }

  /** Messages whose last chunk did not say so are over as well. */
  finish(): [namespace: readonly string[], event: Event][] {
    const left = [...this.#open.values()].flatMap(({ namespace, blocks }) =>
      blocks.finish().map((event): [readonly string[], Event] => [namespace, event]),
    );
    this.#open.clear();
    return left;
  }
}

class Blocks {
  readonly #first: Message;
  readonly #blocks = new Map<string, { index: number; block: Block }>();
  #usage: Record<string, Json> = {};

  constructor(first: Message) {
    this.#first = first;
  }

  start(): Event {
    const event: Event = { event: "message-start", role: ROLES[kindOf(this.#first)] ?? "ai", id: this.#first.id ?? "" };
    const response = this.#first.response_metadata ?? {};
    const metadata: Record<string, Json> = {};
    for (const [key, shown] of [["model_provider", "provider"], ["model_name", "model"]] as const) {
      if (key in response) metadata[shown] = response[key];
    }
    return Object.keys(metadata).length > 0 ? { ...event, metadata } : event;
  }

  add(message: Message): Event[] {
    const events: Event[] = [];
    for (const [position, block] of blocksOf(message).entries()) {
      const key = block["index"] === undefined || block["index"] === null ? `${block["type"]}/${position}` : String(block["index"]);
      let known = this.#blocks.get(key);
      if (known === undefined) {
        known = { index: this.#blocks.size, block: { ...block } };
        this.#blocks.set(key, known);
        events.push({ event: "content-block-start", index: known.index, content: empty(block) });
      } else {
        known.block = grown(known.block, block);
      }
      const delta = deltaOf(block);
      if (delta !== null) events.push({ event: "content-block-delta", index: known.index, delta });
    }
    for (const [name, value] of Object.entries(message.usage_metadata ?? {})) {
      const known = this.#usage[name];
      this.#usage[name] = typeof known === "number" && typeof value === "number" ? known + value : value;
    }
    return events;
  }

  finish(): Event[] {
    const events: Event[] = [...this.#blocks.values()].map(({ index, block }) => ({
      event: "content-block-finish",
      index,
      content: finished(block),
    }));
    const usage = Object.keys(this.#usage).length > 0 ? { usage: this.#usage } : {};
    return [...events, { event: "message-finish", ...usage }];
  }
}

export function kindOf(message: Message): string {
  return message.type ?? (message as Json)._getType?.() ?? "";
}

/** The text of a message. */
export function textOfMessage(message: Message): string {
  if (typeof message.content === "string") return message.content;
  if (!Array.isArray(message.content)) return "";
  return message.content.map((block: Json) => (block?.type === "text" && typeof block.text === "string" ? block.text : "")).join("");
}

function blocksOf(message: Message): Block[] {
  const found: Block[] = [];
  try {
    const { content } = message;
    if (typeof content === "string") {
      if (content !== "") found.push({ type: "text", text: content });
    } else if (Array.isArray(message.contentBlocks)) {
      return message.contentBlocks.map((block) => ({ ...block }));
    } else if (Array.isArray(content)) {
      found.push(...content.map((block: Json) => ({ ...block })));
    }
    const calls = isChunk(message) ? message.tool_call_chunks : message.tool_calls;
    const type = isChunk(message) ? "tool_call_chunk" : "tool_call";
    for (const call of calls ?? []) found.push({ ...call, type });
  } catch {
    // content of a form that nothing here knows
  }
  return found;
}

function without(block: Block, ...names: string[]): Block {
  return Object.fromEntries(Object.entries(block).filter(([name]) => !names.includes(name)));
}

function empty(block: Block): Block {
  const type: string = block["type"] ?? "text";
  const text = TEXTS[type];
  if (text !== undefined) return { ...without(block, text[0], "index", "annotations"), [text[0]]: "" };
  if (CALLS.has(type)) {
    const identity = Object.fromEntries(["type", "id", "name", "index"].filter((name) => block[name] != null).map((name) => [name, block[name]]));
    return { id: null, name: null, ...identity, args: "" };
  }
  const bare = without(block, ...LARGE);
  if (type === "tool_call" || type === "server_tool_call") bare["args"] = {};
  else if (type === "non_standard") bare["value"] = {};
  return bare;
}

function deltaOf(block: Block): Block | null {
  const type: string = block["type"];
  const text = TEXTS[type];
  if (text !== undefined) return block[text[0]] ? { type: text[1], [text[0]]: block[text[0]] } : null;
  if (CALLS.has(type)) return block["args"] ? { type: "tool-call-delta", args: block["args"] } : null;
  return null;
}

function grown(soFar: Block, more: Block): Block {
  const type: string = soFar["type"];
  if (type !== more["type"] || (TEXTS[type] === undefined && !CALLS.has(type))) return { ...more };
  const member = CALLS.has(type) ? "args" : TEXTS[type]![0];
  const whole = { ...soFar };
  for (const [name, value] of Object.entries(more)) {
    if (name === member) whole[name] = (whole[name] ?? "") + (value ?? "");
    else if (value !== undefined && value !== null) whole[name] = value;
  }
  return whole;
}

/** A tool call whose arguments are no JSON is an invalid one. */
function finished(block: Block): Block {
  const type: string = block["type"];
  if (!CALLS.has(type)) return block;
  const known = { id: block["id"] ?? null, name: block["name"] ?? null };
  const others = Object.fromEntries(
    Object.entries(without(block, "type", "id", "name", "args", "index")).filter(([, value]) => value !== undefined && value !== null),
  );
  let args: Json;
  try {
    args = JSON.parse(block["args"] || "{}");
  } catch {
    const error = "Failed to parse tool call arguments as JSON";
    return { type: "invalid_tool_call", ...known, args: block["args"], error, ...others };
  }
  return { type: type === "tool_call_chunk" ? "tool_call" : "server_tool_call", id: known.id ?? "", name: known.name ?? "", args, ...others };
}
