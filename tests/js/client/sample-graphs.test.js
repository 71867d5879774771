// The official JavaScript client on the sample graphs in TypeScript. LANGLOG_URL: the server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.env.LANGLOG_URL });

async function collected(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

test("a run streams messages, updates, values and custom events", async () => {
  const { thread_id } = await client.threads.create();
  const input = { messages: [{ role: "user", content: "add 2 3" }] };
  const streamMode = ["messages-tuple", "updates", "values"];
  const parts = await collected(client.runs.stream(thread_id, "agent", { input, streamMode, streamSubgraphs: true }));
  const events = new Set(parts.map((part) => part.event));
  assert.deepEqual([...events].sort(), ["messages", "metadata", "updates", "values"]);
  const last = parts.filter((part) => part.event === "values").at(-1).data.messages.at(-1);
  assert.equal(last.content, "The result is 5.");
  assert.equal(last.type, "ai");
});

test("an interrupt is answered, and the state before it is read back", async () => {
  const { thread_id } = await client.threads.create();
  const asked = await client.runs.wait(thread_id, "interrupting", { input: { draft: "D" } });
  assert.equal(asked.__interrupt__[0].value.question, "approve?");
  const state = await client.threads.getState(thread_id);
  assert.deepEqual(state.next, ["ask"]);
  const done = await client.runs.wait(thread_id, "interrupting", { command: { resume: "yes" } });
  assert.equal(done.final, "draft of D -> yes");
  const history = await client.threads.getHistory(thread_id);
  assert.deepEqual(history.map((each) => each.next), [[], ["finish"], ["ask"], ["prepare"], ["__start__"]]);
});

test("an update of the state, and a run from an earlier checkpoint", async () => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "counter", { input: { by: 3 } });
  await client.threads.updateState(thread_id, { values: { total: 10 }, asNode: "double" });
  assert.equal((await client.threads.getState(thread_id)).values.total, 16);
  const history = await client.threads.getHistory(thread_id);
  const before = history.find((each) => each.next[0] === "double");
  const again = await client.runs.wait(thread_id, "counter", { input: null, checkpoint: before.checkpoint });
  assert.equal(again.total, 6);
});

test("a subgraph's interrupt shows in the state with subgraphs", async () => {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "nested", { input: { pause: true } });
  const state = await client.threads.getState(thread_id, undefined, { subgraphs: true });
  assert.deepEqual(state.tasks[0].state.tasks[0].state.next, ["leaf"]);
  const done = await client.runs.wait(thread_id, "nested", { command: { resume: "said" } });
  assert.equal(done.leaf_said, "said");
});

test("a run is cancelled, another fails, and both say so", async () => {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "slow", { input: { seconds: 120, ticks: 600 }, streamMode: ["custom"], streamResumable: true });
  for await (const part of client.runs.joinStream(thread_id, run.run_id, { streamMode: ["custom"] })) if (part.event === "custom") break;
  await client.runs.cancel(thread_id, run.run_id, true);
  assert.equal((await client.runs.get(thread_id, run.run_id)).status, "interrupted");
  const parts = await collected(client.runs.stream(null, "failing", { input: { message: "bad" } }));
  assert.deepEqual(parts.at(-1).data, { error: "ValueError", message: "bad" });
});

test("an assistant's context, its schemas and its drawing", async () => {
  const assistant = await client.assistants.create({ graphId: "contextual", context: { tone: "warm" } });
  const seen = await client.runs.wait(null, assistant.assistant_id, { input: { text: "x" } });
  assert.deepEqual(seen.saw_context, { tone: "warm", limit: 3 });
  const [agent] = await client.assistants.search({ graphId: "agent" });
  const schemas = await client.assistants.getSchemas(agent.assistant_id);
  assert.equal(schemas.graph_id, "agent");
  assert.ok(JSON.stringify(schemas).includes("messages"), JSON.stringify(schemas));
  const [nested] = await client.assistants.search({ graphId: "nested" });
  const drawn = await client.assistants.getGraph(nested.assistant_id, { xray: true });
  assert.ok(drawn.nodes.some((node) => node.id === "child:inner"));
});

test("what a graph has put into the store is in the API's", async () => {
  await client.runs.wait(null, "memory", { input: { user: "eva", remember: "likes tea" } });
  const { items } = await client.store.searchItems(["memories", "eva"]);
  assert.deepEqual(items.map((item) => item.value), [{ text: "likes tea" }]);
});
