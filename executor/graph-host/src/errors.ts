/** What is said of something that graph code has thrown, whatever it is. */
import { fileURLToPath } from "node:url";

export interface Described {
  error: string;
  message: string;
  /** For the log: the stack, and those of its causes. */
  stack: string;
}

const CAUSES_MAX = 8;
const STACK_CHARACTERS_MAX = 100_000;
/** More than the worker shows of an error, which masks credentials before it cuts. */
const TEXT_CHARACTERS_MAX = 100_000;
const NO_TEXT = "something that has no text";

/** It never throws, whatever getters, proxies and methods of the thrown value do. */
export function described(thrown: unknown): Described {
  if (!isError(thrown)) return { error: "Error", message: textOf(thrown), stack: `thrown: ${textOf(thrown).slice(0, STACK_CHARACTERS_MAX)}` };
  const name = member(thrown, "name");
  return {
    error: typeof name === "string" && name !== "" ? name.slice(0, 200).toWellFormed() : "Error",
    message: textOf(member(thrown, "message")),
    stack: stackOf(thrown).slice(0, STACK_CHARACTERS_MAX),
  };
}

/** An error, also one of another realm such as a test runner's. */
function isError(value: unknown): value is object {
  try {
    return value instanceof Error || (typeof value === "object" && value !== null && "message" in value && "stack" in value);
  } catch {
    return false; // a proxy whose traps throw
  }
}

/** The member; a text that says so where reading it throws. */
function member(value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name];
  } catch {
    return NO_TEXT;
  }
}

function stackOf(error: object): string {
  const stacks: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < CAUSES_MAX && isError(current); depth++) {
    const stack = member(current, "stack") ?? `${textOf(member(current, "name"))}: ${textOf(member(current, "message"))}`;
    stacks.push(textOf(stack).slice(0, STACK_CHARACTERS_MAX));
    current = member(current, "cause");
  }
  return stacks.join("\ncaused by: ");
}

/** The text of any value, at most `TEXT_CHARACTERS_MAX` of it. */
export function textOf(value: unknown): string {
  try {
    const text = typeof value === "object" && value !== null && !("toString" in value) ? JSON.stringify(value) : String(value);
    return text.slice(0, TEXT_CHARACTERS_MAX).toWellFormed();
  } catch {
    return NO_TEXT;
  }
}

/** Writes to standard error, or to the log, what code that nobody waits for has thrown. It never throws. */
export function reportUnhandled(): void {
  process.on("uncaughtException", (error) => console.error(`an error that nothing in the project handles: ${described(error).stack}`));
  process.on("unhandledRejection", (reason) => console.error(`a rejected promise that nothing in the project handles: ${described(reason).stack}`));
}

/** The innermost place in the project's own code that an error names. */
export function placeOf(thrown: unknown): { file: string; line: number } | null {
  const stack = thrown instanceof Error && typeof thrown.stack === "string" ? thrown.stack : "";
  // a syntax error begins with the place: `file:///…/agent.js:3`
  for (const line of stack.split("\n")) {
    const match = /(?:\(|at |^\s*)(file:\/\/[^\s)]+?|\/[^\s):]+?):(\d+)(?::\d+)?\)?\s*$/.exec(line);
    if (match === null || line.includes("/node_modules/")) continue;
    try {
      const file = match[1]!.startsWith("file:") ? fileURLToPath(match[1]!.split("?", 1)[0]!) : match[1]!;
      if (file !== OWN) return { file, line: Number(match[2]) };
    } catch {
      // no path of this machine
    }
  }
  return null;
}

const OWN = (() => {
  try {
    return fileURLToPath(import.meta.url);
  } catch {
    return "";
  }
})();
