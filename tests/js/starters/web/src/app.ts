// Routes of the project's own, beside the built-in ones.
import { Hono } from "hono";
import { streamText } from "hono/streaming";

export const app = new Hono();

app.use("*", async (context, next) => {
  await next();
  context.header("x-hono", "yes");
});
app.get("/greet/:name", (context) => context.json({ hello: context.req.param("name"), query: context.req.query("loud") ?? null }));
app.post("/echo", async (context) => context.body(await context.req.arrayBuffer(), 201, { "content-type": "application/octet-stream" }));
app.get("/count", (context) =>
  streamText(context, async (stream) => {
    for (let at = 0; at < 3; at++) {
      await stream.write(`${at}\n`);
      await stream.sleep(20);
    }
  }),
);
app.get("/cookies", (context) => {
  context.header("set-cookie", "a=1", { append: true });
  context.header("set-cookie", "b=2", { append: true });
  return context.text("two");
});
app.get("/fails", () => {
  throw new Error("a secret of the project");
});
app.get("/exit", () => process.exit(7));
app.get("/who", (context) => context.json({ auth: context.get("auth" as never) ?? null, header: context.req.header("x-langlog-user") ?? null }));
let left = 0;
app.get("/endless", () => {
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode("first")),
    cancel: () => void left++,
  });
  return new Response(body);
});
app.get("/left", (context) => context.json({ left }));
app.post("/ignored", (context) => context.json({ ignored: true }));
app.get("/fails-late", () => new Response(new ReadableStream({ pull: () => Promise.reject(new Error("a secret of the project")) })));
app.get("/nothing", () => null as unknown as Response);
app.get("/headers", (context) => context.text("x", 200, { "x-large": "h".repeat(20_000) }));
