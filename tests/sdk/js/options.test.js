// Every option of every method of the official JavaScript client changes something, and its line says what. A method or an option of
// a newer client that has no line fails the first test by its name. The server is at LANGLOG_URL.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Client } from "@langchain/langgraph-sdk";
import { change, read, seen } from "./changes.js";
import { signatures } from "./signatures.js";

const HOOK = "https://hooks.invalid/langlog";
const STRANGER = "f".repeat(32);
const FAR_S = 86_400;
const YEARLY = "0 0 1 1 *";
const newClient = (sent) =>
  new Client({
    apiUrl: process.env.LANGLOG_URL,
    callerOptions: {
      maxRetries: 0,
      fetch: (url, init) => {
        sent?.push([init?.method ?? "GET", `${url}`, init?.body ?? null]);
        return fetch(url, init);
      },
    },
  });

const answer = async (scene, options, found) => found;
const unknown = () => randomUUID();
const other = (name, rest = {}) => change("error", () => unknown(), { instead: (scene) => scene[name], ...rest });
const custom = (part) => part.event === "custom";
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// --- runs to be made ------------------------------------------------------------------------------

const onThread = async (scene) => {
  scene.thread = scene.name("thread", (await scene.client.threads.create()).thread_id);
  scene.args = { threadId: scene.thread, assistantId: "echo", input: { text: "a" } };
  scene.told = [];
};
const onNoThread = async (scene) => {
  await onThread(scene);
  scene.args = { ...scene.args, threadId: null, metadata: { suite: scene.suite } };
};
const onCounted = async (scene) => {
  await onThread(scene);
  await scene.client.runs.wait(scene.thread, "counter", { input: { by: 3 } });
  scene.middle = (await scene.client.threads.getHistory(scene.thread, { limit: 10 }))[1].checkpoint;
  scene.args = { threadId: scene.thread, assistantId: "counter", input: null };
};
const onAsking = async (scene) => {
  await onThread(scene);
  await scene.client.runs.wait(scene.thread, "interrupting", { input: { draft: "x" } });
  scene.args = { threadId: scene.thread, assistantId: "interrupting" };
};
const onBusy = async (scene) => {
  await onThread(scene);
  await scene.client.runs.create(scene.thread, "echo", { input: { text: "later" }, afterSeconds: FAR_S });
  scene.leaveWith = () => scene.client.threads.delete(scene.thread); // others would notice its run
};
const onUnknown = async (scene) => {
  await onThread(scene);
  scene.thread = scene.args.threadId = randomUUID();
};

/** Whether the run began after a delay that was asked for. On a busy machine any run may begin late. */
const late = async (scene, run) => {
  const { events } = await (await fetch(`${process.env.LANGLOG_URL}/threads/${scene.thread}/runs/${run}/events`)).json();
  const due = events.find((event) => event.type === "langlog.run.created.v1").data.not_before;
  return due != null && events.some((event) => event.type === "langlog.run.started.v1" && Date.parse(event.time) >= Date.parse(due));
};

/** The answer, and what the run has left: itself, the thread's state and past, what was kept. */
const outcome = async (scene, options, found) => {
  const { threads, runs } = scene.client;
  const seen = { answer: found, told: scene.told.length };
  if (Array.isArray(found)) {
    seen.answer = found.map((part) => [part.event, part.data]);
    seen.ids = found.map((part) => part.id !== undefined);
  }
  if (found?.run_id && found.status) {
    seen.values = await runs.join(found.thread_id, found.run_id);
    const replay = await read((signal) => runs.joinStream(found.thread_id, found.run_id, { signal, lastEventId: "-1" }));
    seen.events = replay.map((part) => [part.event, part.id !== undefined]);
  }
  if (options.threadId === null) return { ...seen, kept: await threads.count({ metadata: { suite: scene.suite } }) };
  const all = await runs.list(scene.thread);
  seen.late = await late(scene, all[0].run_id);
  const { status, metadata, kwargs } = all[0];
  const { values, next } = await threads.getState(scene.thread);
  const past = (await threads.getHistory(scene.thread, { limit: 100 })).length;
  const hooks = await fetch(`${process.env.LANGLOG_URL}/threads/${scene.thread}/runs/${all[0].run_id}/webhooks`);
  return { ...seen, run: { status, metadata, kwargs }, state: { values, next }, past, hooks: (await hooks.json()).length > 0 };
};

const GATES = mkdtempSync(join(tmpdir(), "langlog-gates-"));
after(() => rmSync(GATES, { recursive: true }));
const gate = (scene) => join(GATES, scene.suite);

/** The status of the thread's run once it is over, of one that was left; of others the outcome. Its gate stays closed where it is to
 * be cancelled. */
const left = async (scene, options, found) => {
  if (options.assistantId !== "gated") return outcome(scene, options, found);
  const [run] = await scene.client.runs.list(scene.thread);
  try {
    if (options.onDisconnect === "cancel") await scene.client.runs.join(scene.thread, run.run_id);
  } finally {
    writeFileSync(gate(scene), "");
  }
  await scene.client.runs.join(scene.thread, run.run_id);
  return { status: (await scene.client.runs.get(scene.thread, run.run_id)).status };
};

const count = { assistantId: "counter", input: { by: 2 } };
const long = (scene) => ({ assistantId: "gated", input: { gate: gate(scene) }, streamMode: "custom" });
const nested = { assistantId: "nested", input: {}, streamMode: "updates" };
const stranger = { resume: { [STRANGER]: "yes" } };
const common = {
  threadId: change("run", null, { instead: (scene) => scene.thread, more: (scene) => ({ metadata: { suite: scene.suite } }) }),
  assistantId: change("state.values", "counter", { instead: "echo" }),
  input: change("state.values.echoed", { text: "b" }),
  command: change("state.values.final", { resume: "yes" }, { set: onAsking }),
  metadata: change("run.metadata.m", { m: 1 }),
  config: change("state.values.saw_tags", { tags: ["t"] }, { more: { assistantId: "contextual" } }),
  context: change("state.values.saw_context.tone", { tone: "cool" }, { more: { assistantId: "contextual" } }),
  checkpoint: change("past", (scene) => scene.middle, { set: onCounted }),
  checkpointId: change("past", (scene) => scene.middle.checkpoint_id, { set: onCounted }),
  checkpointDuring: change("past", false, { more: count }),
  durability: change("past", "exit", { more: count }),
  interruptBefore: change("state.next", ["double"], { more: count }),
  interruptAfter: change("state.next", ["add"], { more: count }),
  webhook: change("hooks", HOOK),
  multitaskStrategy: change("error", "reject", { instead: "rollback", set: onBusy }),
  ifNotExists: change("error", "create", { set: onUnknown }),
  onCompletion: change("kept", "keep", { set: onNoThread }),
  afterSeconds: change("late", 1),
  onRunCreated: change("told", (scene) => (created) => scene.told.push(created)),
  strictResume: change("run.status", true, { set: onAsking, more: { command: stranger, raiseError: false } }),
};
const streamed = {
  ...common,
  streamMode: change("answer", "updates"),
  streamSubgraphs: change("answer", true, { more: nested }),
  streamNamespaces: change("answer.length", [""], { more: { ...nested, streamSubgraphs: true } }),
  streamResumable: change("ids", true),
  feedbackKeys: change("answer", ["thumbs"]),
  onDisconnect: change("status", "cancel", { more: long }),
};
const created = {
  ...common,
  streamMode: change("events", "updates", { more: { streamResumable: true } }),
  streamSubgraphs: change("events", true, { more: { ...nested, streamResumable: true } }),
  streamResumable: change("events", true),
  feedbackKeys: change("run.kwargs.feedback_keys", ["thumbs"]),
};
const waited = {
  ...common,
  raiseError: change("error", false, { more: { assistantId: "failing", input: { message: "m" } } }),
  onDisconnect: change("status", "cancel", { more: long }),
};

/** Waits, and goes away from a run of `gated` once it is under way. */
const wait = async (client, { threadId, assistantId, ...payload }, scene) => {
  if (assistantId !== "gated") return client.runs.wait(threadId, assistantId, payload);
  const leaving = new AbortController();
  const waiting = client.runs.wait(threadId, assistantId, { ...payload, signal: leaving.signal }).catch(() => null);
  while ((await scene.client.runs.list(threadId, { status: "running" })).length === 0) await pause(50);
  leaving.abort();
  return waiting;
};

// --- runs that are there ----------------------------------------------------------------------------

const withRuns = async (scene) => {
  await onThread(scene);
  await scene.client.runs.wait(scene.thread, "failing", { input: { message: "m" }, raiseError: false });
  await scene.client.runs.wait(scene.thread, "counter", { input: { by: 1 } });
  const options = { input: { by: 2 }, streamMode: ["values", "updates"], streamResumable: true };
  await read((signal) => scene.client.runs.stream(scene.thread, "counter", { ...options, signal }));
  scene.run = scene.name("run", (await scene.client.runs.list(scene.thread))[0].run_id);
  scene.args = { threadId: scene.thread };
};
const withRun = async (scene) => {
  await withRuns(scene);
  scene.args.runId = scene.run;
};
const ofNested = async (scene) => {
  await onThread(scene);
  const options = { input: {}, streamMode: "updates", streamSubgraphs: true, streamResumable: true };
  await read((signal) => scene.client.runs.stream(scene.thread, "nested", { ...options, signal }));
  scene.run = scene.name("run", (await scene.client.runs.list(scene.thread))[0].run_id);
  scene.middle = (await scene.client.threads.getHistory(scene.thread, { limit: 10 }))[1].checkpoint;
  scene.args = { threadId: scene.thread, runId: scene.run };
};
const underWay = async (scene) => {
  await onThread(scene);
  const run = await scene.client.runs.create(scene.thread, "slow", { input: { seconds: 3, ticks: 30 }, streamMode: "custom" });
  scene.run = scene.name("run", run.run_id);
  while ((await scene.client.runs.list(scene.thread, { status: "running" })).length === 0) await pause(50);
  scene.args = { threadId: scene.thread, runId: scene.run };
  scene.slow = true;
};
const goesOn = async (scene) => {
  const { status } = await (await fetch(`${process.env.LANGLOG_URL}/threads/${scene.thread}/runs/${scene.run}`)).json();
  return status === "pending" || status === "running";
};
const toCancelMany = async (scene) => {
  await underWay(scene);
  scene.args = { threadId: scene.thread, runIds: [scene.run] };
};
const toCancelAll = async (scene) => {
  await underWay(scene);
  scene.args = {};
};
const stopped = async (scene, options, found) => {
  await scene.client.runs.join(scene.thread, scene.run);
  const all = await scene.client.runs.list(scene.thread);
  return { answer: found ?? null, statuses: all.map((run) => run.status), reason: all[0]?.cancel_reason ?? null };
};
const joined = async (scene, options, found) => (scene.slow ? stopped(scene, options, null) : found.map((part) => part.event));
const one = { threadId: other("thread"), runId: other("run") };
const replayed = { more: { lastEventId: "-1" } };

// --- threads ------------------------------------------------------------------------------------------

const counted = async (scene) => {
  scene.thread = scene.name("thread", (await scene.client.threads.create({ metadata: { suite: scene.suite } })).thread_id);
  for (const by of [3, 4]) await scene.client.runs.wait(scene.thread, "counter", { input: { by } });
  scene.past = await scene.client.threads.getHistory(scene.thread, { limit: 100 });
  scene.past.forEach((state, at) => scene.name(`checkpoint ${at}`, state.checkpoint.checkpoint_id));
  scene.args = { threadId: scene.thread };
};
const kept = async (scene) => {
  await counted(scene);
  await scene.client.threads.update(scene.thread, { metadata: {}, ttl: 60 });
};
const paused = async (scene) => {
  scene.thread = (await scene.client.threads.create()).thread_id;
  await scene.client.runs.wait(scene.thread, "nested", { input: { pause: true } });
  const { tasks } = await scene.client.threads.getState(scene.thread);
  scene.inside = { checkpoint_ns: tasks[0].checkpoint.checkpoint_ns };
  scene.args = { threadId: scene.thread };
};
const several = async (scene) => {
  const { threads, runs } = scene.client;
  const all = [];
  for (const n of [0, 1, 2]) all.push((await threads.create({ metadata: { suite: scene.suite, n } })).thread_id);
  all.forEach((id, at) => scene.name(`thread ${at}`, id));
  await runs.wait(all[1], "counter", { input: { by: 7 } });
  await runs.wait(all[0], "failing", { input: { message: "m" }, raiseError: false });
  scene.ids = all;
  scene.args = { metadata: { suite: scene.suite } };
};
const toSearch = async (scene) => {
  await several(scene);
  scene.args = { ...scene.args, sortBy: "created_at", sortOrder: "asc" };
};
const toPrune = async (scene) => {
  await counted(scene);
  scene.args = { threadIds: [scene.thread] };
};
const toFollow = async (scene) => {
  await counted(scene);
  const run = await scene.client.runs.create(scene.thread, "counter", { input: { by: 1 }, streamMode: "updates", streamResumable: true });
  await scene.client.runs.join(scene.thread, run.run_id);
  const parts = await read((signal) => scene.client.runs.joinStream(scene.thread, run.run_id, { signal, lastEventId: "-1" }));
  scene.first = parts[0].id;
  scene.args.lastEventId = "-";
};
const nothing = async () => {};
const fixed = (scene) => scene.name("fixed", randomUUID());
const madeThread = async (scene, options, found) => {
  const thread = await scene.client.threads.get(found.thread_id, { include: ["ttl"] });
  const { values } = await scene.client.threads.getState(found.thread_id);
  return { thread, values, id: scene.names.get(found.thread_id) ?? null };
};
const changed = async (scene, options, found) => {
  const { metadata, ttl } = await scene.client.threads.get(scene.thread, { include: ["ttl"] });
  return { answer: found ?? null, metadata, ttl: ttl?.ttl_minutes ?? null };
};
const stateNow = async (scene) => {
  const { values, next, parent_checkpoint } = await scene.client.threads.getState(scene.thread);
  return { values, next, parent: parent_checkpoint };
};
const pruned = async (scene, options, found) => ({
  answer: found,
  left: await scene.client.threads.count({ metadata: { suite: scene.suite } }),
});
const names = async (scene, options, found) => found.map((part) => part.event);
const done = (part) => part.data?.status === "run_done";
const steps = [
  { updates: [{ values: { by: 2 }, asNode: "__start__" }] },
  { updates: [{ values: { total: 5, log: ["copied"] }, asNode: "add" }] },
];
const total = { values: { total: 1 } };
const narrower = { instead: (scene) => ({ suite: scene.suite }) };
const onlyOne = (scene) => ({ suite: scene.suite, n: 1 });

// --- assistants, crons, the store ------------------------------------------------------------------------

const anAssistant = async (scene) => {
  const made = await scene.client.assistants.create({ graphId: "contextual", metadata: { suite: scene.suite, v: 1 }, name: "one" });
  scene.assistant = scene.name("assistant", made.assistant_id);
  await scene.client.assistants.update(scene.assistant, { metadata: { v: 2 }, name: "two" });
  scene.args = { assistantId: scene.assistant };
};
const aNestedOne = async (scene) => {
  scene.assistant = (await scene.client.assistants.create({ graphId: "nested" })).assistant_id;
  scene.args = { assistantId: scene.assistant };
};
const toMake = async (scene) => {
  scene.args = { graphId: "contextual" };
};
const assistants = async (scene) => {
  for (const [n, graphId] of ["contextual", "echo", "echo"].entries()) {
    await scene.client.assistants.create({ graphId, metadata: { suite: scene.suite, n }, name: `${"cab"[n]} ${scene.suite}` });
  }
  scene.args = { metadata: { suite: scene.suite } };
};
const withThread = async (scene) => {
  await anAssistant(scene);
  const { thread_id } = await scene.client.threads.create();
  await scene.client.runs.wait(thread_id, scene.assistant, { input: { text: "x" } });
};
const content = {
  graphId: change("graph_id", "echo", { instead: "contextual" }),
  config: change("config.tags", { tags: ["t"] }),
  context: change("context.tone", { tone: "cool" }),
  metadata: change("metadata.k", { k: 1 }),
  name: change("name", "mine"),
  description: change("description", "what it does"),
};
const anId = { assistantId: other("assistant") };

const toCron = async (scene) => {
  scene.args = { assistantId: "echo", schedule: YEARLY };
};
const toCronOnThread = async (scene) => {
  await toCron(scene);
  scene.thread = scene.name("thread", (await scene.client.threads.create()).thread_id);
  scene.args.threadId = scene.thread;
};
const aCron = async (scene) => {
  const made = await scene.client.crons.create("echo", { schedule: YEARLY, metadata: { suite: scene.suite } });
  scene.cron = scene.name("cron", made.cron_id);
  scene.args = { cronId: scene.cron };
};
const crons = async (scene) => {
  scene.thread = (await scene.client.threads.create()).thread_id;
  const suite = scene.suite;
  await scene.client.crons.createForThread(scene.thread, "echo", { schedule: YEARLY, metadata: { suite, n: 0 } });
  const counter = await scene.client.crons.create("counter", { schedule: "0 0 1 2 *", metadata: { suite, n: 1 } });
  await scene.client.crons.create("echo", { schedule: "0 0 1 3 *", metadata: { suite, n: 2 }, enabled: false });
  scene.counter = counter.assistant_id;
  scene.args = { metadata: { suite } };
};
const cron = {
  schedule: change("schedule", "0 0 1 2 *", { instead: YEARLY }),
  input: change("payload.input", { text: "tick" }),
  metadata: change("metadata.k", { k: 1 }),
  config: change("payload.config.tags", { tags: ["t"] }),
  context: change("payload.context", { a: 1 }),
  interruptBefore: change("payload.interrupt_before", ["echo"]),
  interruptAfter: change("payload.interrupt_after", ["echo"]),
  webhook: change("payload.webhook", HOOK),
  endTime: change("end_time", "2999-01-01T00:00:00Z"),
  enabled: change("enabled", false),
  timezone: change("timezone", "Europe/Berlin"),
  streamMode: change("payload.stream_mode", ["updates"]),
  streamSubgraphs: change("payload.stream_subgraphs", true),
  streamResumable: change("payload.stream_resumable", true),
  durability: change("payload.durability", "sync"),
};
const newCron = {
  ...cron,
  assistantId: change("error", () => unknown(), { instead: "echo" }),
  checkpointDuring: change("payload.checkpoint_during", false),
  multitaskStrategy: change("payload.multitask_strategy", "reject"),
};

const filled = async (scene) => {
  scene.place = ["changes", scene.suite];
  for (const [n, text] of ["aaa", "bbb", "abab"].entries()) {
    await scene.client.store.putItem([...scene.place, "below", `leaf${n}`], `k${n}`, { n, text, even: n % 2 === 0 });
  }
  scene.args = { namespacePrefix: scene.place };
};
const toList = async (scene) => {
  await filled(scene);
  scene.args = { prefix: scene.place };
};
const anItem = async (scene) => {
  scene.place = ["changes", scene.suite];
  await scene.client.store.putItem(scene.place, "k", { n: 1 });
  scene.args = { namespace: scene.place, key: "k" };
};
const toPut = async (scene) => {
  scene.place = ["changes", scene.suite];
  scene.args = { namespace: scene.place, key: "k", value: { text: "aaa" } };
};
const stored = async (scene) => {
  const { items } = await scene.client.store.searchItems(["changes", scene.suite], { query: "aaa" });
  const found = items.map(({ namespace, key, value }) => ({ namespace, key, value }));
  return { items: found, scores: items.map((one) => one.score !== null), there: (await scene.client.store.getItem(scene.place, "k")) !== null };
};
const deeper = (scene) => [...scene.place, "deeper"];
const atPlace = { instead: (scene) => scene.place };
const page = { limit: change("length", 1), offset: change("length", 1) };

// --- the table ---------------------------------------------------------------------------------------

const ways = {
  "runs.create": { set: onThread, look: outcome, changes: created, call: (c, { threadId, assistantId, ...p }) => c.runs.create(threadId, assistantId, p) },
  "runs.wait": { set: onThread, look: left, changes: waited, call: wait },
  "runs.stream": {
    set: onThread,
    look: left,
    changes: streamed,
    call: (c, { threadId, assistantId, ...p }) =>
      read((signal) => c.runs.stream(threadId, assistantId, { ...p, signal }), assistantId === "gated" ? custom : undefined),
  },
  "runs.createBatch": {
    set: nothing,
    look: answer,
    changes: { payloads: change("length", [{ assistantId: "echo" }, { assistantId: "echo" }], { instead: [{ assistantId: "echo" }] }) },
    call: (c, { payloads }) => c.runs.createBatch(payloads),
  },
  "runs.list": {
    set: withRuns,
    look: answer,
    changes: { threadId: other("thread"), ...page, status: change("length", "error"), select: change("*.kwargs", ["run_id"]) },
    call: (c, { threadId, ...o }) => c.runs.list(threadId, o),
  },
  "runs.get": { set: withRun, look: answer, changes: one, call: (c, { threadId, runId }) => c.runs.get(threadId, runId) },
  "runs.delete": { set: withRun, look: answer, changes: one, call: (c, { threadId, runId }) => c.runs.delete(threadId, runId) },
  "runs.join": {
    set: withRun,
    look: async (scene, options, found) => (scene.slow ? stopped(scene, options, null) : found),
    changes: {
      threadId: other("thread", { shows: "__error__" }),
      runId: other("run", { shows: "__error__" }),
      cancelOnDisconnect: change("statuses", true, { set: underWay }),
    },
    call: async (c, { threadId, runId, ...o }, scene) => {
      if (!scene.slow) return c.runs.join(threadId, runId, o);
      // nothing says when a busy server has got the request: it is left later each time, until the run is over
      for (let ms = 300; await goesOn(scene); ms *= 2) {
        await c.runs.join(threadId, runId, { ...o, signal: AbortSignal.timeout(ms) }).catch(() => null);
        if (!o.cancelOnDisconnect) break;
      }
      return null;
    },
  },
  "runs.joinStream": {
    set: ofNested,
    look: joined,
    changes: {
      threadId: change("length", () => unknown(), { instead: (scene) => scene.thread, ...replayed }),
      runId: change("length", () => unknown(), { instead: (scene) => scene.run, ...replayed }),
      lastEventId: change("length", "-1", { instead: "999999999999999-0" }),
      streamMode: change("length", "values", replayed),
      streamNamespaces: change("length", [""], replayed),
      checkpointId: change("length", (scene) => scene.middle.checkpoint_id, replayed),
      cancelOnDisconnect: change("statuses", true, { set: underWay }),
    },
    call: (c, { threadId, runId, ...o }, scene) => read((signal) => c.runs.joinStream(threadId, runId, { ...o, signal }), scene.slow ? custom : undefined),
  },
  "runs.cancel": {
    set: underWay,
    look: stopped,
    changes: { ...one, wait: change("answer", true), action: change("statuses", "rollback"), reason: change("reason", "taken") },
    call: (c, { threadId, runId, wait = false, action = "interrupt", ...o }) => c.runs.cancel(threadId, runId, wait, action, o),
  },
  "runs.cancelMany": {
    set: toCancelMany,
    look: stopped,
    changes: {
      threadId: other("thread"),
      runIds: change("error", () => [unknown()], { instead: (scene) => [scene.run] }),
      status: change("error", "running", { instead: "pending", set: toCancelAll }),
      action: change("statuses", "rollback"),
    },
    call: (c, o) => c.runs.cancelMany(o),
  },
  "threads.create": {
    set: nothing,
    look: madeThread,
    changes: {
      metadata: change("thread.metadata.k", { k: 1 }),
      threadId: change("id", fixed),
      ifExists: change("error", "do_nothing", { set: counted }),
      supersteps: change("values.total", steps, { more: { graphId: "counter" } }),
      graphId: change("thread.metadata.graph_id", "counter"),
      ttl: change("thread.ttl", 60),
    },
    call: (c, o) => c.threads.create(o),
  },
  "threads.get": { set: kept, look: answer, changes: { threadId: other("thread"), include: change("ttl", ["ttl"]) }, call: (c, { threadId, ...o }) => c.threads.get(threadId, o) },
  "threads.update": {
    set: counted,
    look: changed,
    changes: {
      threadId: other("thread"),
      metadata: change("metadata.b", { b: 2 }, { instead: {} }),
      ttl: change("ttl", 5, { more: { metadata: {} } }),
      returnMinimal: change("answer", true, { more: { metadata: {} } }),
    },
    call: (c, { threadId, ...o }) => c.threads.update(threadId, { metadata: {}, ...o }),
  },
  "threads.delete": { set: counted, look: answer, changes: { threadId: other("thread") }, call: (c, { threadId }) => c.threads.delete(threadId) },
  "threads.copy": { set: counted, look: answer, changes: { threadId: other("thread") }, call: (c, { threadId }) => c.threads.copy(threadId) },
  "threads.prune": {
    set: toPrune,
    look: pruned,
    changes: {
      threadIds: change("answer.pruned_count", () => [unknown()], { instead: (scene) => [scene.thread] }),
      strategy: change("left", "keep_latest"),
    },
    call: (c, { threadIds, ...o }) => c.threads.prune(threadIds, o),
  },
  "threads.search": {
    set: toSearch,
    look: answer,
    changes: {
      metadata: change("length", onlyOne, narrower),
      ids: change("length", (scene) => scene.ids.slice(0, 1)),
      values: change("length", { total: 14 }),
      status: change("length", "error"),
      ...page,
      sortBy: change("*.thread_id", "state_updated_at", { instead: "created_at" }),
      sortOrder: change("*.thread_id", "desc", { instead: "asc" }),
      select: change("*.metadata", ["thread_id"]),
      extract: change("*.extracted", { last: "values.log[-1]" }),
    },
    call: (c, o) => c.threads.search(o),
  },
  "threads.count": {
    set: several,
    look: answer,
    changes: { metadata: change("answer", onlyOne, narrower), values: change("answer", { total: 14 }), status: change("answer", "error") },
    call: (c, o) => c.threads.count(o),
  },
  "threads.getState": {
    set: counted,
    look: answer,
    changes: {
      threadId: other("thread"),
      checkpoint: change("values.log", (scene) => scene.past[3].checkpoint),
      subgraphs: change("tasks.*.state", true, { set: paused }),
      select: change("tasks", ["values.total", "next"]),
    },
    call: (c, { threadId, checkpoint, ...o }) => c.threads.getState(threadId, checkpoint, o),
  },
  "threads.getHistory": {
    set: counted,
    look: answer,
    changes: {
      threadId: other("thread"),
      limit: change("length", 1),
      before: change("length", (scene) => ({ configurable: { checkpoint_id: scene.past[3].checkpoint.checkpoint_id } })),
      metadata: change("length", { step: 1 }),
      checkpoint: change("*.values", (scene) => scene.inside, { set: paused }),
      select: change("*.tasks", ["values.total"]),
    },
    call: (c, { threadId, ...o }) => c.threads.getHistory(threadId, { limit: 10, ...o }),
  },
  "threads.updateState": {
    set: counted,
    look: stateNow,
    changes: {
      threadId: other("thread"),
      values: change("values.total", { total: 1 }, { instead: {} }),
      asNode: change("next", "add", { more: total }),
      checkpoint: change("parent", (scene) => scene.past[3].checkpoint, { more: total }),
      checkpointId: change("parent", (scene) => scene.past[3].checkpoint.checkpoint_id, { more: total }),
    },
    call: (c, { threadId, ...o }) => c.threads.updateState(threadId, { values: {}, ...o }),
  },
  "threads.joinStream": {
    set: toFollow,
    look: names,
    changes: {
      lastEventId: change("length", (scene) => scene.first, { instead: "-" }),
      streamMode: change("length", "lifecycle"),
    },
    call: (c, { threadId, ...o }) => read((signal) => c.threads.joinStream(threadId, { ...o, signal }), done),
  },
  "assistants.create": {
    set: toMake,
    look: async (scene, options, found) => ({ ...found, id: scene.names.get(found.assistant_id) ?? null }),
    changes: {
      ...content,
      assistantId: change("id", fixed),
      ifExists: change("error", "do_nothing", { set: anAssistant, more: { graphId: "echo" } }),
    },
    call: (c, o) => c.assistants.create(o),
  },
  "assistants.get": { set: anAssistant, look: answer, changes: anId, call: (c, { assistantId }) => c.assistants.get(assistantId) },
  "assistants.getGraph": { set: aNestedOne, look: answer, changes: { ...anId, xray: change("nodes.length", true) }, call: (c, { assistantId, ...o }) => c.assistants.getGraph(assistantId, o) },
  "assistants.getSchemas": { set: aNestedOne, look: answer, changes: anId, call: (c, { assistantId }) => c.assistants.getSchemas(assistantId) },
  "assistants.getSubgraphs": {
    set: aNestedOne,
    look: answer,
    changes: { ...anId, namespace: change("child", "nope"), recurse: change("child|inner", true) },
    call: (c, { assistantId, ...o }) => c.assistants.getSubgraphs(assistantId, o),
  },
  "assistants.update": { set: anAssistant, look: answer, changes: { ...anId, ...content }, call: (c, { assistantId, ...o }) => c.assistants.update(assistantId, o) },
  "assistants.delete": {
    set: anAssistant,
    look: async (scene) => ({ threads: await scene.client.threads.count({ metadata: { assistant_id: scene.assistant } }) }),
    changes: { ...anId, deleteThreads: change("threads", true, { set: withThread }) },
    call: (c, { assistantId, ...o }) => c.assistants.delete(assistantId, o),
  },
  "assistants.search": {
    set: assistants,
    look: answer,
    changes: {
      metadata: change("length", onlyOne, narrower),
      graphId: change("length", "echo"),
      name: change("length", (scene) => `a ${scene.suite}`),
      ...page,
      sortBy: change("*.metadata.n", "name"),
      sortOrder: change("*.metadata.n", "asc"),
      select: change("*.metadata", ["assistant_id"]),
      includePagination: change("assistants", true),
    },
    call: (c, o) => c.assistants.search(o),
  },
  "assistants.count": {
    set: assistants,
    look: answer,
    changes: { metadata: change("answer", onlyOne, narrower), graphId: change("answer", "echo"), name: change("answer", (scene) => `a ${scene.suite}`) },
    call: (c, o) => c.assistants.count(o),
  },
  "assistants.getVersions": {
    set: anAssistant,
    look: answer,
    changes: { ...anId, metadata: change("length", { v: 1 }), ...page },
    call: (c, { assistantId, ...o }) => c.assistants.getVersions(assistantId, o),
  },
  "assistants.setLatest": {
    set: anAssistant,
    look: answer,
    changes: { ...anId, version: change("name", 1, { instead: 2 }) },
    call: (c, { assistantId, version = 1 }) => c.assistants.setLatest(assistantId, version),
  },
  "crons.create": {
    set: toCron,
    look: answer,
    changes: { ...newCron, onRunCompleted: change("on_run_completed", "keep") },
    call: (c, { assistantId, ...p }) => c.crons.create(assistantId, p),
  },
  "crons.createForThread": {
    set: toCronOnThread,
    look: answer,
    changes: { ...newCron, threadId: other("thread") },
    call: (c, { threadId, assistantId, ...p }) => c.crons.createForThread(threadId, assistantId, p),
  },
  "crons.update": {
    set: aCron,
    look: answer,
    changes: {
      ...cron,
      cronId: other("cron"),
      onRunCompleted: change("on_run_completed", "keep", { instead: "delete" }),
    },
    call: (c, { cronId, ...p }) => c.crons.update(cronId, { metadata: { z: 1 }, ...p }),
  },
  "crons.delete": { set: aCron, look: answer, changes: { cronId: other("cron") }, call: (c, { cronId }) => c.crons.delete(cronId) },
  "crons.search": {
    set: crons,
    look: answer,
    changes: {
      assistantId: change("length", (scene) => scene.counter),
      threadId: change("length", (scene) => scene.thread),
      enabled: change("length", false),
      metadata: change("length", onlyOne, narrower),
      ...page,
      sortBy: change("*.metadata.n", "assistant_id"),
      sortOrder: change("*.metadata.n", "asc"),
      select: change("*.payload", ["cron_id"]),
    },
    call: (c, o) => c.crons.search(o),
  },
  "crons.count": {
    set: crons,
    look: answer,
    changes: {
      assistantId: change("answer", (scene) => scene.counter),
      threadId: change("answer", (scene) => scene.thread),
      metadata: change("answer", onlyOne, narrower),
    },
    call: (c, o) => c.crons.count(o),
  },
  "store.putItem": {
    set: toPut,
    look: stored,
    changes: {
      namespace: change("items.*.namespace", deeper, atPlace),
      key: change("items.*.key", "other", { instead: "k" }),
      value: change("items.*.value.text", { text: "bbb" }, { instead: { text: "aaa" } }),
      index: change("scores", false),
      ttl: change("there", 0.00001),
    },
    call: (c, { namespace, key, value, ...o }) => c.store.putItem(namespace, key, value, o),
  },
  "store.getItem": {
    set: anItem,
    look: answer,
    changes: { namespace: change("value", deeper, atPlace), key: change("value", "other", { instead: "k" }) },
    call: (c, { namespace, key, ...o }) => c.store.getItem(namespace, key, o),
  },
  "store.deleteItem": {
    set: anItem,
    look: stored,
    changes: { namespace: change("there", deeper, atPlace), key: change("there", "other", { instead: "k" }) },
    call: (c, { namespace, key }) => c.store.deleteItem(namespace, key),
  },
  "store.searchItems": {
    set: filled,
    look: async (scene, options, found) => found.items.map((one) => one.key),
    changes: {
      namespacePrefix: change("length", (scene) => [...scene.place, "below", "leaf1"], atPlace),
      filter: change("length", { even: true }),
      ...page,
      query: change("*", "bbb", { instead: "aaa" }),
    },
    call: (c, { namespacePrefix, ...o }) => c.store.searchItems(namespacePrefix, o),
  },
  "store.listNamespaces": {
    set: toList,
    look: async (scene, options, found) => found.namespaces,
    changes: {
      prefix: change("length", (scene) => [...scene.place, "below", "leaf1"], atPlace),
      suffix: change("length", ["leaf1"]),
      maxDepth: change("length", 2),
      ...page,
    },
    call: (c, o) => c.store.listNamespaces(o),
  },
};

/** Options that change no answer, each with its reason: of every method, and of single ones. */
const CLIENTS_OWN = {
  signal: "ends the request on the client's side",
  streamIdleReconnect: "when the client gives a silent connection up",
  _langsmithTracer: "not part of the public client; says where LangSmith files the run",
};
const NOT_SENT = "the client's types take it, and the client does not send it";
const UNCHANGED = {
  "runs.wait streamMode": NOT_SENT,
  "runs.wait streamSubgraphs": NOT_SENT,
  "runs.wait streamNamespaces": NOT_SENT,
  "runs.wait streamResumable": NOT_SENT,
  "runs.wait feedbackKeys": NOT_SENT,
  "runs.create onDisconnect": "nobody is connected to a run that goes on in the background",
  "threads.joinStream threadId": "a thread that is not there is a stream without events (wire contract §8)",
  "threads.patchState threadIdOrConfig": "the contract has no such route: threads-and-runs.test.js",
  "threads.patchState metadata": "the contract has no such route: threads-and-runs.test.js",
  "threads.stream threadId": "a conversation, not a request: threads-and-runs.test.js, tests/clients",
  "threads.stream options": "a conversation, not a request: threads-and-runs.test.js, tests/clients",
  "store.getItem refreshTtl": "puts an item's end off by minutes: tests/ttl",
  "store.searchItems refreshTtl": "puts the end of what is found off by minutes: tests/ttl",
};
for (const method of ["crons.create", "crons.createForThread", "crons.update"]) {
  for (const option of ["afterSeconds", "checkpoint", "checkpointId", "command", "feedbackKeys", "ifNotExists", "onCompletion", "onDisconnect", "onRunCreated", "strictResume"]) {
    UNCHANGED[`${method} ${option}`] = NOT_SENT;
  }
}
for (const option of ["checkpointDuring", "multitaskStrategy"]) UNCHANGED[`crons.update ${option}`] = NOT_SENT;
delete UNCHANGED["crons.update feedbackKeys"];
UNCHANGED["crons.createForThread onRunCompleted"] = "a cron on a thread has no thread of its own to keep or delete (wire contract §10)";

const lines = Object.entries(ways).flatMap(([method, way]) => Object.keys(way.changes).map((option) => [method, option]));

test("no method and no option is forgotten", () => {
  const there = signatures().filter((line) => !(line.split(" ")[1] in CLIENTS_OWN));
  const told = [...lines.map((line) => line.join(" ")), ...Object.keys(UNCHANGED)].sort();
  assert.deepEqual(told, there);
});

/** Stops runs of others too: not beside them. */
const ALONE = "runs.cancelMany status";

const holds = ([method, option]) =>
  test(`${method} ${option} changes what its line says`, { timeout: 90_000 }, async () => {
    const { differences, found } = await seen(newClient, ways[method], option);
    assert.ok(differences.has(ways[method].changes[option].shows), JSON.stringify([[...differences], found]).slice(0, 3000));
  });

describe("every option", { concurrency: 6 }, () => lines.filter((line) => line.join(" ") !== ALONE).forEach(holds));
describe("the rest", () => lines.filter((line) => line.join(" ") === ALONE).forEach(holds));

describe("what the client does not send", { concurrency: 6 }, () => {
  for (const [line, reason] of Object.entries(UNCHANGED)) {
    if (reason !== NOT_SENT) continue;
    const [method, option] = line.split(" ");
    test(line, { timeout: 90_000 }, async () => {
      const way = { ...ways[method], look: nothing, changes: { [option]: change("", "x") } };
      const { sent } = await seen(newClient, way, option);
      const [without, given] = sent.map((requests) => requests.at(-1)[2]?.replace(/[0-9a-f-]{36}/g, ""));
      assert.equal(given, without);
    });
  }
});
