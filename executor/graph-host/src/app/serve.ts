/**
 * The project's own code that a gateway serves: `auth` (an `Auth` of `@langchain/langgraph-sdk/auth`) and `http.app` (Hono, or whatever
 * has `fetch`). A process of its own, because requests must not wait for graphs.
 *
 * It listens on two Unix sockets, `auth` and `app`, in a folder that the gateway made, and writes to a descriptor what it has loaded, or
 * why it has not: `{"ready": {callbacks, routes}}` or `{"refused": {key, reason}}`, a line of JSON. It ends when standard input does.
 * The other side: `langlog_backbone/project/hosted_code.py`.
 */
import { once } from "node:events";
import { writeSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { described, placeOf } from "../errors.js";

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
interface App {
  fetch(request: Request): Response | Promise<Response>;
  routes?: { path: string; method: string }[];
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
  process.stdin.on("end", () => process.exit(0)).on("error", () => process.exit(0)).resume();
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => undefined);
  process.chdir(spec.root);
  try {
    const handlers = spec.auth === null ? null : await loadAuth(spec.auth);
    const app = spec.app === null ? null : await loadApp(spec.app);
    if (handlers !== null) await listen(createServer(answering((request) => asked(handlers, request))), join(spec.folder, "auth"));
    if (app !== null) await listen(createServer(answering((request) => app.fetch(request))), join(spec.folder, "app"));
    const routes = Array.isArray(app?.routes) ? app.routes.map(({ method, path }) => ({ method, path })) : null;
    report({ ready: { node: process.versions.node, callbacks: Object.keys(handlers?.callbacks ?? {}), routes } });
  } catch (error) {
    const { error: name, message } = described(error);
    const place = placeOf(error);
    const where = place === null ? "" : ` (${place.file}, line ${place.line})`;
    const refused = error instanceof Unusable ? { key: error.key, reason: message } : { key: "", reason: `${name}: ${message}${where}` };
    report({ refused });
    process.exit(1);
  }
  // of code that nobody waits for: the rest is served on
  process.on("uncaughtException", (error) => console.error("an error that nothing in the project handles:", error));
  process.on("unhandledRejection", (reason) => console.error("a rejected promise that nothing in the project handles:", reason));
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
  server.listen(path);
  await once(server, "listening");
}

type Answer = (request: Request) => Response | Promise<Response>;

function answering(answer: Answer) {
  return (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const gone = new AbortController();
    outgoing.on("close", () => gone.abort());
    void (async () => {
      try {
        await send(await answer(requestOf(incoming, gone.signal)), outgoing);
      } catch (error) {
        if (gone.signal.aborted) return;
        console.error("a request to the project's application failed:", error);
        if (outgoing.headersSent) outgoing.destroy();
        else outgoing.writeHead(500, { "content-type": "application/json" }).end('{"detail":"Internal Server Error"}');
      }
    })();
  };
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
    headers.append(incoming.rawHeaders[index]!, incoming.rawHeaders[index + 1]!);
  }
  const method = incoming.method ?? "GET";
  const scheme = headers.get("x-langlog-scheme") ?? "http";
  headers.delete("x-langlog-scheme");
  const url = `${scheme}://${headers.get("host") ?? "localhost"}${incoming.url ?? "/"}`;
  const bodyless = method === "GET" || method === "HEAD";
  const body = bodyless ? undefined : (Readable.toWeb(incoming) as ReadableStream);
  return new Request(url, { method, headers, body, signal, duplex: "half" } as RequestInit);
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  const headers: [string, string][] = [];
  response.headers.forEach((value, name) => name !== "set-cookie" && headers.push([name, value]));
  for (const cookie of response.headers.getSetCookie()) headers.push(["set-cookie", cookie]);
  outgoing.writeHead(response.status, headers.flat());
  if (response.body !== null) {
    for await (const piece of response.body) {
      if (outgoing.destroyed) return;
      if (!outgoing.write(piece)) await once(outgoing, "drain");
    }
  }
  outgoing.end();
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
    const status = (error as { status?: unknown } | null)?.status;
    if (typeof status === "number" && status >= 400 && status < 600) {
      return Response.json({ refused: { status, detail: described(error).message } });
    }
    console.error("a handler of auth failed:", error);
    const { error: name, message } = described(error);
    return Response.json({ failed: `${name}: ${message}` });
  }
}

async function authorized(handlers: Handlers, { event, value, user }: Question): Promise<unknown> {
  const [resource, action] = event.split(":") as [string, string];
  const key = [event, resource, `*:${action}`, "*"].find((each) => handlers.callbacks?.[each] !== undefined);
  if (key === undefined) return { answer: null, value };
  const answer = await handlers.callbacks![key]!({ event, resource, action, value, permissions: user.permissions ?? [], user });
  return { answer: answer ?? null, value };
}
