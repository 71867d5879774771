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
