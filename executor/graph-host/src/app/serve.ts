/**
 * The project's own code that a gateway serves: `auth` (an `Auth` of `@langchain/langgraph-sdk/auth`) and `http.app` (Hono, or whatever
 * has `fetch`). A process of its own, because requests must not wait for graphs.
 *
 * It listens on Unix sockets, `auth`, `app` and `alive` (each connection gets one byte, which says that the event loop is free), in a
 * folder that the gateway made, and writes to a descriptor what it has loaded, or
 * why it has not: `{"ready": {callbacks, routes}}` or `{"refused": {key, reason}}`, a line of JSON. It ends when standard input does.
 * The other side: `langlog_backbone/project/hosted_code.py`.
 */
import { once } from "node:events";
import { writeSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSocketServer, type Server as SocketServer } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { described, placeOf, reportUnhandled } from "../errors.js";
import { endProcess, refuseExit } from "../exit.js";
import { className } from "../values.js";
import { type App, type Caller, withCallers } from "./callers.js";

interface Named {
  key: string;
  file: string;
  export: string;
}

export interface Spec {
  root: string;
  folder: string;
  auth: Named | null;
  app: Named | null;
}

type Authenticate = (request: Request) => unknown;
type Callback = (context: Record<string, unknown>) => unknown;
interface Handlers {
  authenticate?: Authenticate;
  callbacks?: Record<string, Callback>;
}

/** Where `Auth` keeps what the project registered with it. */
const HANDLERS = "~handlerCache";

class Unusable extends Error {
  constructor(
    readonly key: string,
    message: string,
  ) {
    super(message);
  }
}

/** `reportTo`: the descriptor. */
export async function serveCode(spec: Spec, reportTo: number): Promise<void> {
  const report = (said: unknown): void => void writeSync(reportTo, `${JSON.stringify(said)}\n`);
  refuseExit();
  process.stdin.on("end", () => endProcess(0)).on("error", () => endProcess(0)).resume();
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => undefined);
  process.chdir(spec.root);
  try {
    const handlers = spec.auth === null ? null : await loadAuth(spec.auth);
    const app = spec.app === null ? null : await loadApp(spec.app);
    await listening(createSocketServer((socket) => socket.on("error", () => undefined).end("1")), join(spec.folder, "alive"));
    if (handlers !== null) await listen(serverOf((request) => asked(handlers, request)), join(spec.folder, "auth"));
    if (app !== null) await listen(serverOf(withCallers(app)), join(spec.folder, "app"));
    const routes = Array.isArray(app?.routes) ? app.routes.map(({ method, path }) => ({ method, path })) : null;
    report({ ready: { node: process.versions.node, callbacks: Object.keys(handlers?.callbacks ?? {}), routes } });
  } catch (error) {
    const { error: name, message } = described(error);
    const place = placeOf(error);
    const where = place === null ? "" : ` (${place.file}, line ${place.line})`;
    const refused = error instanceof Unusable ? { key: error.key, reason: message } : { key: "", reason: `${name}: ${message}${where}` };
    report({ refused });
    endProcess(1);
  }
  reportUnhandled(); // the rest is served on
}

async function exported(named: Named): Promise<unknown> {
  const module = (await import(pathToFileURL(named.file).href)) as Record<string, unknown>;
  const value = named.export in module ? module[named.export] : (module["default"] as Record<string, unknown> | undefined)?.[named.export];
  if (value === undefined) throw new Unusable(named.key, `there is no export '${named.export}' in ${named.file}`);
  return value;
}

async function loadAuth(named: Named): Promise<Handlers> {
  const auth = await exported(named);
  const handlers = typeof auth === "object" && auth !== null ? (auth as Record<string, Handlers | undefined>)[HANDLERS] : undefined;
  if (handlers === undefined) throw new Unusable(named.key, `'${named.export}' is no Auth of @langchain/langgraph-sdk/auth`);
  if (typeof handlers.authenticate !== "function") throw new Unusable(named.key, `'${named.export}' has no authenticate`);
  return handlers;
}

async function loadApp(named: Named): Promise<App> {
  const app = (await exported(named)) as Partial<App>;
  if (typeof app?.fetch !== "function") throw new Unusable(named.key, `'${named.export}' has no fetch: it is no Hono application`);
  return app as App;
}

async function listen(server: Server, path: string): Promise<void> {
  server.requestTimeout = 0; // the gateway bounds requests
  server.headersTimeout = 0;
  server.keepAliveTimeout = 0;
  await listening(server, path);
}

async function listening(server: SocketServer, path: string): Promise<void> {
  server.listen(path);
  await once(server, "listening");
}

/** `caller`: what authentication has said of the caller, if the request was authenticated. */
type Answer = (request: Request, caller?: Caller) => Response | Promise<Response>;

/** The gateway bounds headers; Node's own bound is lower. */
const HEADER_BYTES_MAX = 1024 * 1024;

function serverOf(answer: Answer): Server {
  return createServer({ maxHeaderSize: HEADER_BYTES_MAX }, answering(answer));
}

function answering(answer: Answer) {
  return (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const gone = new AbortController();
    outgoing.on("close", () => outgoing.writableFinished || gone.abort());
    void (async () => {
      try {
        const { request, caller } = requestOf(incoming, gone.signal);
        await send(await answer(request, caller), outgoing, gone.signal);
      } catch (error) {
        if (gone.signal.aborted) return;
        console.error(`a request to the project's application failed: ${described(error).stack}`);
        if (outgoing.headersSent) outgoing.destroy();
        else outgoing.writeHead(500, { "content-type": "application/json" }).end('{"detail":"Internal Server Error"}');
      }
    })();
  };
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): { request: Request; caller?: Caller } {
  const headers = new Headers();
  for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
    headers.append(incoming.rawHeaders[index]!, incoming.rawHeaders[index + 1]!);
  }
  const method = incoming.method ?? "GET";
  const scheme = headers.get("x-langlog-scheme") ?? "http";
  headers.delete("x-langlog-scheme");
  const user = headers.get("x-langlog-user");
  headers.delete("x-langlog-user");
  const url = `${scheme}://${headers.get("host") ?? "localhost"}${incoming.url ?? "/"}`;
  const bodyless = method === "GET" || method === "HEAD";
  const body = bodyless ? undefined : (Readable.toWeb(incoming) as ReadableStream);
  const request = new Request(url, { method, headers, body, signal, duplex: "half" } as RequestInit);
  return user === null ? { request } : { request, caller: callerOf(JSON.parse(Buffer.from(user, "base64").toString()) as Caller["user"]) };
}

/** Sends the response as it comes. Who is gone ends the body, also one that says nothing more. */
async function send(response: Response, outgoing: ServerResponse, gone: AbortSignal): Promise<void> {
  const headers: [string, string][] = [];
  response.headers.forEach((value, name) => name !== "set-cookie" && headers.push([name, value]));
  for (const cookie of response.headers.getSetCookie()) headers.push(["set-cookie", cookie]);
  outgoing.writeHead(response.status, headers.flat());
  if (response.body !== null) {
    outgoing.flushHeaders(); // a body may begin late, or fail: the client is to know that it is this response's
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const cancel = (): void => void reader.cancel().catch(() => undefined);
    if (gone.aborted) cancel();
    gone.addEventListener("abort", cancel, { once: true });
    for (;;) {
      const { done, value } = await reader.read();
      if (done || gone.aborted) break;
      if (!outgoing.write(value)) await once(outgoing, "drain", { signal: gone });
    }
  }
  outgoing.end();
}

/** As the JavaScript server gives it to handlers of `http.app`. */
function callerOf(user: Caller["user"]): Caller {
  return { user, scopes: user.permissions ?? [] };
}

interface Question {
  method: string;
  url: string;
  headers: [string, string][];
  event: string;
  value: unknown;
  user: { permissions?: unknown };
}

async function asked(handlers: Handlers, request: Request): Promise<Response> {
  const question = (await request.json()) as Question;
  try {
    if (new URL(request.url).pathname === "/authenticate") {
      const { method, url, headers } = question;
      return Response.json({ user: (await handlers.authenticate!(new Request(url, { method, headers }))) ?? null });
    }
    return Response.json(await authorized(handlers, question));
  } catch (error) {
    const { error: name, message, stack } = described(error);
    const status = statusOf(error);
    if (status !== null) return Response.json({ refused: { status, detail: message } });
    console.error(`a handler of auth failed: ${stack}`);
    return Response.json({ failed: `${name}: ${message}` });
  }
}

/** The status of HTTP that an exception asks for. */
function statusOf(thrown: unknown): number | null {
  try {
    const status = (thrown as { status?: unknown } | null)?.status;
    return typeof status === "number" && Number.isInteger(status) && status >= 400 && status < 600 ? status : null;
  } catch {
    return null;
  }
}

async function authorized(handlers: Handlers, { event, value, user }: Question): Promise<unknown> {
  const [resource, action] = event.split(":") as [string, string];
  const key = [event, resource, `*:${action}`, "*"].find((each) => handlers.callbacks?.[each] !== undefined);
  if (key === undefined) return { answer: null, value };
  const answer = await handlers.callbacks![key]!({ event, resource, action, value, permissions: user.permissions ?? [], user });
  const isFilter = Object.prototype.toString.call(answer) === "[object Object]" && !(answer instanceof Promise);
  // whatever JSON leaves out would look like a permission
  if (answer !== undefined && answer !== null && typeof answer !== "boolean" && !isFilter) {
    throw new TypeError(`a handler of auth must give nothing, a boolean or a filter, not ${className(answer)}`);
  }
  return { answer: answer ?? null, value };
}
