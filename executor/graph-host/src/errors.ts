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

export function described(thrown: unknown): Described {
  if (!(thrown instanceof Error) && !isErrorLike(thrown)) {
    return { error: "Error", message: textOf(thrown), stack: `thrown: ${textOf(thrown)}` };
  }
  const name = typeof thrown.name === "string" && thrown.name !== "" ? thrown.name : "Error";
  return { error: name.slice(0, 200), message: textOf(thrown.message), stack: stackOf(thrown).slice(0, STACK_CHARACTERS_MAX) };
}

/** An error of another realm, such as a test runner's. */
function isErrorLike(value: unknown): value is Error {
  return typeof value === "object" && value !== null && "message" in value && "stack" in value;
}

function stackOf(error: Error): string {
  const stacks: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < CAUSES_MAX && current instanceof Error; depth++) {
    stacks.push(textOf(current.stack ?? `${current.name}: ${current.message}`));
    current = current.cause;
  }
  return stacks.join("\ncaused by: ");
}

export function textOf(value: unknown): string {
  try {
    const text = typeof value === "object" && value !== null && !("toString" in value) ? JSON.stringify(value) : String(value);
    return text.toWellFormed();
  } catch {
    return "something that has no text";
  }
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
