// The one way to the server: the public API, with the header that its authentication wants, kept in memory alone.
import { signal } from "@preact/signals";
import { base } from "../app/router";
import { ApiError, errorOf, isFinal } from "./error";
import { SseParser, type SseEvent } from "./sse";

export { ApiError };

/** Before every path of the API: empty, or the mount prefix. */
export const root = base.replace(/\/console\/$/, "");

/** Headers sent with every request. Never stored: they are lost when the page is closed. */
export const credentials = signal<Record<string, string>>({});
/** The server has refused us for want of credentials; what it said. The frame shows the form for them. */
export const refused = signal<string | null>(null);

export type Connection = "up" | "lost" | "back";
/** Whether the server can be reached. `back` for a few seconds after it could not. */
export const connection = signal<Connection>("up");
/** Counts how often the server came back: what a view has read before may be old. */
export const comebacks = signal(0);

export interface Asked {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  query?: Record<string, string | number | boolean | readonly string[] | null | undefined>;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Milliseconds that the server's clock is ahead of the browser's, to the second. */
let ahead = 0;
let clockKnown = (): void => undefined;
/** Resolves with the first answer: before it, a clock of the browser that is wrong is not noticed. */
const answered = new Promise<void>((done) => {
  clockKnown = done;
});

/** A moment of the browser's clock by the server's, as ISO 8601: what a stream begins with so that nothing falls between it and what
 * was read since then. Events are visible a moment after their time, and `Date` has whole seconds. */
export async function since(moment: number): Promise<string> {
  await answered;
  return new Date(moment + ahead - 5_000).toISOString();
}

/** One request, and its answer as JSON (undefined for an empty one). Raises ApiError. */
export async function call<T>(path: string, asked: Asked = {}): Promise<T> {
  return (await callWithHeaders<T>(path, asked)).body;
}

export async function callWithHeaders<T>(path: string, asked: Asked = {}): Promise<{ body: T; headers: Headers }> {
  const response = await send(path, asked);
  const text = await response.text().catch((error: unknown) => {
    if (asked.signal?.aborted) throw error;
    lost();
    throw new ApiError(0, "The connection broke before the answer was complete.");
  });
  return { body: (text === "" ? undefined : JSON.parse(text)) as T, headers: response.headers };
}

/** The response itself, once it is a good one. Raises ApiError. */
export async function send(path: string, asked: Asked = {}): Promise<Response> {
  const { method = asked.body === undefined ? "GET" : "POST", body } = asked;
  const headers: Record<string, string> = { ...credentials.peek(), ...asked.headers };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(addressOf(path, asked.query), {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: asked.signal ?? null,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    lost();
    throw new ApiError(0, "The server cannot be reached.");
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  if (!Number.isNaN(date)) ahead = date - Date.now();
  clockKnown();
  if (response.ok) {
    if (Object.keys(credentials.peek()).length > 0) refused.value = null;
    return response;
  }
  const [detail, code] = await reasonOf(response);
  if (response.status === 401) refused.value = detail;
  throw new ApiError(response.status, detail, code);
}

/** `detail` of an error answer, whatever it looks like. */
async function reasonOf(response: Response): Promise<[string, string | undefined]> {
  const text = await response.text().catch(() => "");
  try {
    const found = JSON.parse(text) as { detail?: unknown; code?: unknown };
    const code = typeof found.code === "string" ? found.code : undefined;
    if (typeof found.detail === "string") return [found.detail, code];
    if (found.detail !== undefined) return [JSON.stringify(found.detail), code];
  } catch {
    // plain text of a proxy, or nothing
  }
  return [text.slice(0, 500) || `The server answered with status ${response.status}.`, undefined];
}

export function addressOf(path: string, query: Asked["query"] = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? (value as string[]) : [String(value)]) search.append(name, one);
  }
  const text = search.toString();
  return `${root}${path}${text === "" ? "" : `?${text}`}`;
}

/** A path with its ids escaped: ids come from others, so none of them may lead elsewhere. */
export function at(strings: TemplateStringsArray, ...ids: string[]): string {
  return strings.reduce((path, part, index) => path + encodeURIComponent(ids[index - 1] ?? "") + part);
}

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
const BACK_SHOWN_MS = 4_000;
/** A stream says something every 5 s (LANGLOG_HEARTBEAT_SECS); a connection that is silent for long is dead. */
const SILENCE_MS = 45_000;

export interface Followed {
  /** A function: called for each time that the stream is opened. */
  asked?: Asked | (() => Promise<Asked>);
  /** Event to continue after: sent as Last-Event-ID. */
  from?: string;
  onEvent: (event: SseEvent) => void;
  /** The stream is open, for the first time or once more; `resumed`: from its last event. */
  onOpen?: (again: boolean, resumed: boolean) => void;
  /** The server cannot serve the stream for now, or ended it with an error: another try follows. */
  onWaiting?: (error: ApiError) => void;
  /** The server refuses: no try follows. */
  onRefused?: (error: ApiError) => void;
  /** Connect only once: the request must not be repeated. */
  once?: boolean;
  /** The connection broke, and `once` forbids another. */
  onBroken?: () => void;
  /** The server has closed the stream, as it does at the end of a run; `error`: of the event `error`, if that was the last one.
   * Return true to open it again. */
  onEnd?: (error: ApiError | null) => boolean | Promise<boolean>;
}

/** Follow a stream until it is closed: opened again, from its last event, whenever the connection breaks. Returns what closes it.
 *
 * While the page is hidden the stream is not open, but for one that must not be repeated: by HTTP/1.1 a browser opens six connections
 * to a server for all of its tabs together, so that a few tabs with streams would leave none for the next. */
export function follow(path: string, followed: Followed): () => void {
  const closing = new AbortController();
  void keepFollowing(path, followed, closing.signal);
  return () => closing.abort();
}

/** Resolves when the page is visible, or the stream no longer wanted. */
async function shown(closed: AbortSignal): Promise<void> {
  while (document.visibilityState === "hidden" && !closed.aborted) {
    await new Promise<void>((done) => {
      document.addEventListener("visibilitychange", () => done(), { once: true, signal: closed });
      closed.addEventListener("abort", () => done(), { once: true });
    });
  }
}

async function keepFollowing(path: string, followed: Followed, closed: AbortSignal): Promise<void> {
  let id = followed.from ?? "";
  let pause = FIRST_PAUSE_MS;
  let opened = false;
  while (!closed.aborted) {
    if (!followed.once) await shown(closed);
    const asked = typeof followed.asked === "function" ? await followed.asked() : followed.asked;
    if (closed.aborted) return;
    const attempt = new AbortController();
    const end = (): void => attempt.abort();
    let isPutAway = false;
    const putAway = (): void => {
      if (followed.once || document.visibilityState !== "hidden") return;
      isPutAway = true;
      end();
    };
    closed.addEventListener("abort", end, { once: true });
    document.addEventListener("visibilitychange", putAway);
    let silent = setTimeout(end, SILENCE_MS);
    try {
      const headers = { ...asked?.headers, accept: "text/event-stream", ...(id === "" ? {} : { "last-event-id": id }) };
      const response = await send(path, { ...asked, headers, signal: attempt.signal });
      followed.onOpen?.(opened, id !== "");
      opened = true;
      const parser = new SseParser(id);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let failed: ApiError | null = null;
      for (;;) {
        const part = await reader?.read();
        clearTimeout(silent);
        silent = setTimeout(end, SILENCE_MS);
        if (part === undefined || part.done) break;
        for (const event of parser.push(part.value)) {
          failed = event.event === "error" ? errorOf(event.data) : null;
          if (failed === null) pause = FIRST_PAUSE_MS;
          followed.onEvent(event);
        }
        id = parser.id;
      }
      if (followed.onEnd !== undefined && !(await followed.onEnd(failed))) return;
      if (failed !== null && !closed.aborted) followed.onWaiting?.(failed);
    } catch (error) {
      if (closed.aborted) return;
      if (isPutAway) continue;
      if (isFinal(error)) {
        followed.onRefused?.(error);
        return;
      }
      if (!(error instanceof ApiError)) lost();
      if (followed.once) {
        if (error instanceof ApiError && error.status !== 0) followed.onRefused?.(error);
        else followed.onBroken?.();
        return;
      }
      if (error instanceof ApiError && error.status !== 0) followed.onWaiting?.(error);
    } finally {
      clearTimeout(silent);
      closed.removeEventListener("abort", end);
      document.removeEventListener("visibilitychange", putAway);
    }
    await new Promise((again) => setTimeout(again, pause * (0.75 + Math.random() / 2)));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

let probing = false;
/** Milliseconds before the next try. They grow until the server has stayed: where one answer never arrives, blocked by the browser or broken off by
 * a proxy, each comeback would else have all views read again at once. */
let probePause = FIRST_PAUSE_MS;
let stayed: ReturnType<typeof setTimeout> | undefined;

/** The server could not be reached: try until it answers, and say so meanwhile. */
function lost(): void {
  connection.value = "lost";
  clearTimeout(stayed);
  if (probing) return;
  probing = true;
  void (async () => {
    while (connection.peek() === "lost") {
      await new Promise((again) => setTimeout(again, probePause));
      probePause = Math.min(probePause * 2, LONGEST_PAUSE_MS);
      try {
        await fetch(addressOf("/ok"), { cache: "no-store" });
        reached();
      } catch {
        // still away
      }
    }
    probing = false;
  })();
}

function reached(): void {
  connection.value = "back";
  comebacks.value += 1;
  stayed = setTimeout(() => {
    connection.value = "up";
    probePause = FIRST_PAUSE_MS;
  }, BACK_SHOWN_MS);
}
