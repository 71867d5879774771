// Callers are who their token says they are; threads belong to their makers.
import { Auth, HTTPException } from "@langchain/langgraph-sdk/auth";

export const auth = new Auth()
  .authenticate(async (request: Request) => {
    const token = request.headers.get("authorization")?.replace("Bearer ", "");
    if (token === "broken") throw new Error("a secret of the project");
    if (!token) throw new HTTPException(401, { message: "Who are you?" });
    return { identity: token, permissions: token === "anna" ? ["read"] : [], where: new URL(request.url).pathname };
  })
  .on("threads:create", ({ value, user }) => {
    value.metadata ??= {};
    value.metadata.owner = user.identity;
    return { owner: user.identity };
  })
  .on("threads", ({ user }) => ({ owner: user.identity }))
  .on("assistants:create", ({ value }) => {
    const hostile = { get: () => { throw new Error("a trap"); }, has: () => { throw new Error("a trap"); } };
    const kind = String(value.metadata?.kind);
    if (kind === "proxy") throw new Proxy({}, hostile);
    if (kind === "message") throw Object.defineProperty(new Error("said"), "message", hostile);
    if (kind === "nothing") throw null;
    const nonsense: Record<string, unknown> = { text: "no", number: Number.NaN, function: () => false, map: new Map(), list: [], big: { owner: 1n } };
    return nonsense[kind] as never;
  })
  .on("store", () => false);
