// What agent-chat-ui, agent-inbox and deep-agents-ui ask a server for, call by call, with the client that they are made of.
// Shapes were taken down from the pages' requests; the React hook that two of them use is driven in tests/clients.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import test from "node:test";

import { Client } from "@langchain/langgraph-sdk";

const apiUrl = process.env.LANGLOG_URL;
const client = new Client({ apiUrl, apiKey: "the-page-sends-one" });

const human = (content) => ({ id: randomUUID(), type: "human", content });
const MAIL = 'send_mail {"to": "a", "text": "x"}';

async function drained(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  const failed = parts.find((part) => part.event === "error");
  assert.equal(failed, undefined, JSON.stringify(failed?.data));
  return parts;
}

function last(parts, event = "values") {
  return parts.filter((part) => part.event === event).at(-1).data;
}

test("agent-chat-ui: looks for the server, chats, lists its threads, edits a message and answers an interrupt", async () => {
  const info = await fetch(`${apiUrl}/info`, { headers: { "X-Api-Key": "the-page-sends-one" } });
  assert.equal(info.ok, true);

  const { thread_id } = await client.threads.create({ metadata: { graph_id: "plain" } });
  const options = { streamMode: ["values", "messages-tuple", "custom"], streamSubgraphs: true, streamResumable: true, onDisconnect: "continue" };
  let created;
  const first = await drained(
    client.runs.stream(thread_id, "plain", {
      ...options,
      input: { messages: [human("hello")], context: undefined },
      onRunCreated: (run) => (created = run),
    }),
  );
  assert.equal(last(first).messages.at(-1).content, "You said: hello");
  assert.ok(first.some((part) => part.event === "messages"));
  assert.equal(created.thread_id, thread_id);

  const threads = await client.threads.search({ metadata: { graph_id: "plain" }, limit: 100 });
  assert.ok(threads.some((thread) => thread.thread_id === thread_id && thread.values.messages.length === 2));
  const byId = await client.threads.search({ metadata: { assistant_id: created.assistant_id ?? randomUUID() }, limit: 100 });
  assert.ok(Array.isArray(byId));

  // a message is edited: the run begins at the checkpoint before it
  const history = await client.threads.getHistory(thread_id, { limit: 1000 });
  const before = history.find((state) => state.next.includes("__start__"));
  const edited = await drained(
    client.runs.stream(thread_id, "plain", {
      ...options,
      input: { messages: [human("edited")] },
      checkpoint: before.checkpoint,
    }),
  );
  assert.deepEqual(last(edited).messages.map((message) => message.content), ["edited", "You said: edited"]);
  const branches = await client.threads.getHistory(thread_id, { limit: 1000 });
  assert.ok(branches.some((state) => state.values.messages?.at(-1)?.content === "You said: hello"));
  assert.ok(branches.some((state) => state.values.messages?.at(-1)?.content === "You said: edited"));

  // regenerated: the same checkpoint, without input
  const user = branches.find((state) => state.values.messages?.length === 1 && state.values.messages[0].content === "edited");
  const again = await drained(
    client.runs.stream(thread_id, "plain", { ...options, input: undefined, checkpoint: user.checkpoint }),
  );
  assert.equal(last(again).messages.at(-1).content, "You said: edited");

  const asking = await client.threads.create({ metadata: { graph_id: "approving" } });
  const stopped = await drained(
    client.runs.stream(asking.thread_id, "approving", { ...options, input: { messages: [human(MAIL)] } }),
  );
  assert.equal(last(stopped).__interrupt__[0].value.action_requests[0].name, "send_mail");
  const state = await client.threads.getState(asking.thread_id);
  assert.equal(state.tasks[0].interrupts[0].value.review_configs[0].action_name, "send_mail");
  const resumed = await drained(
    client.runs.stream(asking.thread_id, "approving", {
      ...options,
      input: {},
      command: { resume: { decisions: [{ type: "edit", edited_action: { name: "send_mail", args: { to: "b", text: "y" } } }] } },
    }),
  );
  assert.match(last(resumed).messages.at(-1).content, /sent 'y' to b/);
});

test("agent-chat-ui: what its button to ignore an interrupt sends runs through, and langgraph asks again", async () => {
  const { thread_id } = await client.threads.create();
  await drained(client.runs.stream(thread_id, "approving", { input: { messages: [human(MAIL)] }, streamMode: ["values"] }));
  await drained(client.runs.stream(thread_id, "approving", { input: {}, command: { goto: "__end__" }, streamMode: ["values"] }));
  assert.equal((await client.threads.getState(thread_id)).tasks[0].interrupts.length, 1);
});

test("agent-chat-ui: a page that was reloaded joins the run and sees all of it", async () => {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "plain", {
    input: { messages: [human("hello")] },
    streamMode: ["values", "messages-tuple"],
    streamResumable: true,
  });
  const parts = await drained(client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-1", streamMode: ["values"] }));
  assert.equal(last(parts).messages.at(-1).content, "You said: hello");
});

test("agent-inbox: finds what waits, shows it, and answers, ignores or resolves it", async () => {
  const mark = randomUUID();
  const made = [];
  for (let n = 0; n < 3; n++) {
    const { thread_id } = await client.threads.create({ metadata: { mark } });
    await client.runs.wait(thread_id, "approving", { input: { messages: [human(MAIL)] } });
    made.push(thread_id);
  }
  const waiting = await client.threads.search({ offset: 0, limit: 10, status: "interrupted", metadata: { mark } });
  assert.deepEqual(new Set(waiting.map((thread) => thread.thread_id)), new Set(made));
  for (const thread of waiting) {
    const [interrupts] = Object.values(thread.interrupts);
    assert.equal(interrupts[0].value.action_requests[0].name, "send_mail");
    const state = await client.threads.getState(thread.thread_id);
    assert.equal(state.tasks.at(-1).interrupts.at(-1).id, interrupts[0].id);
  }
  const [answered, ignored, resolved] = made;

  const events = await drained(
    client.runs.stream(answered, "approving", {
      command: { resume: { decisions: [{ type: "approve" }] } },
      streamMode: "events",
    }),
  );
  assert.ok(events.some((part) => part.data?.event === "on_chain_end"));
  assert.equal((await client.threads.get(answered)).values.messages.at(-1).content, "done: sent 'x' to a");

  await client.runs.create(ignored, "approving", { command: { resume: { decisions: [{ type: "reject", message: "no" }] } } });
  await client.threads.updateState(resolved, { values: null, asNode: "__end__" });
  assert.deepEqual((await client.threads.getState(resolved)).next, []);
  const runs = await client.runs.list(ignored);
  await Promise.all(runs.map((run) => client.runs.join(ignored, run.run_id)));
  assert.deepEqual(await client.threads.search({ status: "interrupted", metadata: { mark } }), []);
  assert.equal((await client.threads.search({ status: "idle", metadata: { mark }, limit: 10 })).length, 3);
});

test("deep-agents-ui: files, subagents, single steps, a stop, and its list of threads", async () => {
  const [assistant] = await client.assistants.search({ graphId: "deep", limit: 100 });
  assert.equal((await client.assistants.get(assistant.assistant_id)).graph_id, "deep");
  const config = { ...assistant.config, recursion_limit: 100 };
  const { thread_id } = await client.threads.create();
  const options = { config, streamMode: ["values", "messages-tuple", "updates"], streamSubgraphs: true, streamResumable: true };
  const task = `task ${JSON.stringify({ description: 'weather {"place": "Rome"}', subagent_type: "reporter" })}`;
  const write = 'write_file {"file_path": "/a.txt", "content": "hello"}';
  const parts = await drained(
    client.runs.stream(thread_id, assistant.assistant_id, { ...options, input: { messages: [human([write, task].join("\n"))] } }),
  );
  const values = last(parts);
  assert.equal(values.files["/a.txt"].content, "hello");
  assert.ok(parts.some((part) => part.event.startsWith("updates|tools:")), "a subagent's steps");

  const files = { ...values.files, "/a.txt": { ...values.files["/a.txt"], content: "changed" } };
  await client.threads.updateState(thread_id, { values: { files } });
  const read = await drained(
    client.runs.stream(thread_id, assistant.assistant_id, { ...options, input: { messages: [human('read_file {"file_path": "/a.txt"}')] } }),
  );
  assert.match(last(read).messages.at(-1).content, /changed/);

  // its debug mode: the run stops before the tools, and goes on without input
  const stepped = await drained(
    client.runs.stream(thread_id, assistant.assistant_id, {
      ...options,
      input: { messages: [human('weather {"place": "Oslo"}')] },
      interruptBefore: ["tools"],
    }),
  );
  assert.equal(last(stepped).messages.at(-1).tool_calls[0].name, "weather");
  assert.deepEqual((await client.threads.getState(thread_id)).next, ["tools"]);
  const on = await drained(client.runs.stream(thread_id, assistant.assistant_id, { ...options, input: null }));
  assert.equal(last(on).messages.at(-1).content, "done: sunny in Oslo");

  const stopping = await drained(
    client.runs.stream(thread_id, assistant.assistant_id, { ...options, input: { messages: [human(MAIL)] } }),
  );
  assert.ok(last(stopping).__interrupt__);
  const resumed = await drained(
    client.runs.stream(thread_id, assistant.assistant_id, { ...options, input: null, command: { resume: { decisions: [{ type: "approve" }] } } }),
  );
  assert.equal(last(resumed).messages.at(-1).content, "done: sent 'x' to a");

  const page = { limit: 20, offset: 0, sortBy: "updated_at", sortOrder: "desc" };
  const listed = await client.threads.search({ ...page, metadata: { assistant_id: assistant.assistant_id } });
  assert.equal(listed[0].thread_id, thread_id);
  const idle = await client.threads.search({ ...page, status: "idle", metadata: { assistant_id: assistant.assistant_id } });
  assert.ok(idle.some((thread) => thread.thread_id === thread_id));
});
