/**
 * Values of graphs as JSON, for the API: a message is its dictionary with `type`, a Set is a list, a Map an object, bytes are base64, an
 * error is its text. It never throws: what JSON cannot say becomes a text that names it.
 */
import { isMessage } from "./library.js";

const DEPTH_MAX = 200;
const VALUES_MAX = 1_000_000;
/** Of a list that is walked through. The engine keeps longer ones as tables, which may be all holes (`list[4e9] = 1`). */
const ELEMENTS_MAX = 32 * 1024 * 1024;
/** Objects that are looked at for a list that is too long. */
const LOOKED_AT_MAX = 100_000;
const LONE_SURROGATE = /\\ud[89ab][0-9a-f]{2}|\\ud[c-f][0-9a-f]{2}/i;

export function json(value: unknown): Uint8Array {
  return Buffer.from(jsonText(value));
}

export function jsonText(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value, readable);
    if (text !== undefined && LONE_SURROGATE.test(text)) text = JSON.stringify(new Plain().of(value, 0));
  } catch {
    text = JSON.stringify(new Plain().of(value, 0)); // a cycle, too deep, a getter that throws
  }
  return text ?? "null";
}

/** A replacer: `this` holds the value before its `toJSON`. */
function readable(this: unknown, key: string, value: unknown): unknown {
  const raw = typeof this === "object" && this !== null ? (this as Record<string, unknown>)[key] : value;
  if (raw === null || typeof raw !== "object") return typeof raw === "bigint" ? bigText(raw) : value;
  return ofObject(raw) ?? value;
}

/** What stands for an object that is not its own members; undefined: it is. */
function ofObject(raw: object): unknown {
  if (isMessage(raw)) {
    const { type, data } = raw.toDict();
    return { ...data, type };
  }
  if (raw instanceof Set) return [...raw];
  if (raw instanceof Map) return Object.fromEntries([...raw].map(([name, each]) => [String(name), each]));
  if (raw instanceof Uint8Array) return Buffer.from(raw).toString("base64");
  if (raw instanceof RegExp) return String(raw);
  if (raw instanceof Error) return `${raw.name}: ${raw.message}`;
  if ((raw as { lg_name?: unknown }).lg_name === "Send") {
    const { node, args } = raw as unknown as { node: unknown; args: unknown };
    return { node, arg: args };
  }
  return undefined;
}

function bigText(value: bigint): number | string {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
}

/** A walk through a value that JSON.stringify cannot do. */
class Plain {
  #left = VALUES_MAX;
  readonly #above = new Set<object>();

  of(value: unknown, depth: number): unknown {
    try {
      return this.#of(value, depth);
    } catch {
      return `<${className(value)}>`;
    }
  }

  #of(value: unknown, depth: number): unknown {
    if (typeof value === "string") return value.toWellFormed();
    if (typeof value === "bigint") return bigText(value);
    if (value === null || typeof value === "number" || typeof value === "boolean") return value;
    if (typeof value !== "object") return undefined;
    if (--this.#left < 0 || depth > DEPTH_MAX || this.#above.has(value)) return `<${className(value)}>`;
    this.#above.add(value);
    try {
      const standIn = ofObject(value);
      if (standIn !== undefined) return this.of(standIn, depth + 1);
      const own = value as { toJSON?: unknown };
      if (typeof own.toJSON === "function") return this.of((own.toJSON as () => unknown)(), depth + 1);
      if (Array.isArray(value) && value.length > ELEMENTS_MAX) return `<${className(value)}>`;
      if (Array.isArray(value)) return value.map((each) => this.of(each, depth + 1) ?? null);
      const members = Object.entries(value).map(([name, each]) => [name.toWellFormed(), this.of(each, depth + 1)]);
      return Object.fromEntries(members);
    } finally {
      this.#above.delete(value);
    }
  }
}

export function className(value: unknown): string {
  if (typeof value !== "object" || value === null) return typeof value;
  try {
    const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
    return typeof name === "string" && name !== "" ? name.slice(0, 200) : "Object";
  } catch {
    return "Object"; // a proxy whose traps throw
  }
}

/** The length of a list in the value that is too long to be walked through; null without one among the first `LOOKED_AT_MAX` objects. */
export function excessiveLength(value: unknown): number | null {
  const waiting: unknown[] = [value];
  for (let looked = 0; waiting.length > 0 && looked < LOOKED_AT_MAX; ) {
    const each = waiting.pop();
    if (typeof each !== "object" || each === null || ArrayBuffer.isView(each)) continue;
    looked++;
    if (Array.isArray(each)) {
      if (each.length > ELEMENTS_MAX) return each.length;
      for (let at = Math.min(each.length, LOOKED_AT_MAX) - 1; at >= 0; at--) if (typeof each[at] === "object") waiting.push(each[at]);
    } else {
      try {
        for (const name in each) waiting.push((each as Record<string, unknown>)[name]);
      } catch {
        // a proxy whose traps throw, or a getter: the serializer says so
      }
    }
  }
  return null;
}

declare global {
  interface String {
    toWellFormed(): string;
  }
}
