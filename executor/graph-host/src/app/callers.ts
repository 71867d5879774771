/** Who calls a route of `http.app`: `c.get("auth")` of Hono, `{user, scopes}`, as in the JavaScript server (`AuthContext` of langgraph-api). */

export interface App {
  fetch(request: Request): Response | Promise<Response>;
  routes?: { path: string; method: string }[];
}

/** What `authenticate` has said of the caller, with its permissions as scopes. */
export interface Caller {
  user: { identity: string; permissions?: string[]; [member: string]: unknown };
  scopes: string[];
}

interface Context {
  req: { raw: Request };
  set(name: string, value: unknown): void;
}
interface Hono extends App {
  getPath?: unknown;
  use(path: string, middleware: (context: Context, next: () => Promise<void>) => Promise<void>): unknown;
  route(path: string, app: App): unknown;
}

/** The application's answer. One of Hono's is mounted in another of its own class, whose first middleware sets the variable. */
export function withCallers(app: App): (request: Request, caller?: Caller) => Response | Promise<Response> {
  if (!isHono(app)) return (request) => app.fetch(request);
  const callers = new WeakMap<Request, Caller>();
  const outer = new (app.constructor as new (options: object) => Hono)({ getPath: app.getPath });
  outer.use("*", async (context, next) => {
    context.set("auth", callers.get(context.req.raw));
    await next();
  });
  outer.route("/", app);
  return (request, caller) => {
    if (caller !== undefined) callers.set(request, caller);
    return outer.fetch(request);
  };
}

function isHono(app: App): app is Hono {
  const hono = app as Partial<Hono>;
  return Array.isArray(hono.routes) && typeof hono.use === "function" && typeof hono.route === "function" && typeof hono.getPath === "function";
}
