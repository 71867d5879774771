// CopilotKit's way to an agent: the AG-UI client for LangGraph, and the events that it makes of a server's streams.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import test from "node:test";

import { LangGraphAgent } from "@ag-ui/langgraph";

const deploymentUrl = process.env.LANGLOG_URL;

function agentOf(graphId, threadId = randomUUID()) {
  return new LangGraphAgent({ deploymentUrl, graphId, threadId });
}

async function say(agent, content, parameters = {}) {
  const events = [];
  if (content) agent.addMessage({ id: randomUUID(), role: "user", content });
  await agent.runAgent(parameters, { onEvent: ({ event }) => void events.push(event) });
  const failed = events.find((event) => event.type === "RUN_ERROR");
  assert.equal(failed, undefined, failed?.message);
  return events;
}

function text(events) {
  return events.filter((event) => event.type === "TEXT_MESSAGE_CONTENT").map((event) => event.delta).join("");
}

test("text comes in pieces, between a beginning and an end, and the thread remembers it", async () => {
  const agent = agentOf("plain");
  const events = await say(agent, "tell me much");
  const types = events.map((event) => event.type);
  assert.equal(types[0], "RUN_STARTED");
  assert.equal(types.at(-1), "RUN_FINISHED");
  assert.equal(text(events), "You said: tell me much");
  assert.ok(events.filter((event) => event.type === "TEXT_MESSAGE_CONTENT").length > 1);
  await say(agent, "and more");
  assert.deepEqual(agent.messages.map((message) => message.role), ["user", "assistant", "user", "assistant"]);
  assert.equal(agent.messages.at(-1).content, "You said: and more");
});

test("a tool's call, its arguments and its result are events, and the state is a snapshot", async () => {
  const agent = agentOf("plain");
  const events = await say(agent, 'weather {"place": "Rome"}');
  const start = events.find((event) => event.type === "TOOL_CALL_START");
  assert.equal(start.toolCallName, "weather");
  const args = events.filter((event) => event.type === "TOOL_CALL_ARGS" && event.toolCallId === start.toolCallId);
  assert.deepEqual(JSON.parse(args.map((event) => event.delta).join("")), { place: "Rome" });
  assert.equal(events.find((event) => event.type === "TOOL_CALL_RESULT").content, "sunny in Rome");
  assert.ok(events.some((event) => event.type === "STATE_SNAPSHOT"));
  assert.equal(text(events), "done: sunny in Rome");
});

test("an approval is an interrupt that the next run answers", async () => {
  const agent = agentOf("approving");
  const events = await say(agent, 'send_mail {"to": "a", "text": "x"}');
  const asked = events.find((event) => event.type === "CUSTOM" && event.name === "on_interrupt");
  const value = typeof asked.value === "string" ? JSON.parse(asked.value) : asked.value;
  assert.equal(value.action_requests[0].name, "send_mail");
  const resume = { decisions: [{ type: "approve" }] };
  const after = await say(agent, null, { forwardedProps: { command: { resume } } });
  assert.equal(text(after), "done: sent 'x' to a");
  assert.equal(after.find((event) => event.type === "TOOL_CALL_RESULT").content, "sent 'x' to a");
});

test("a message that is edited branches off at its checkpoint", async () => {
  const agent = agentOf("plain");
  await say(agent, "first");
  await say(agent, "second");
  const [first, , second] = agent.messages;
  agent.setMessages([first, agent.messages[1], { ...second, content: "instead" }]);
  await say(agent, null);
  assert.equal(agent.messages.at(-1).content.startsWith("You said:"), true);
});
