// Every method of `client.threads` and `client.runs` of the official JavaScript client does what it is for, and none is
// forgotten. The server is at LANGLOG_URL; tests/sdk/test_javascript_sdk.py installs the client and runs this.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.env.LANGLOG_URL, callerOptions: { maxRetries: 0 } });
const { threads, runs } = client;
const INHERITED = new Set(["constructor", "prepareFetchOptions", "fetch", "streamWithRetry"]);

const fresh = async () => (await threads.create()).thread_id;

/** A thread with a finished run of the counter on it. */
const counted = async (by = 3) => {
  const thread = await fresh();
  await runs.wait(thread, "counter", { input: { by } });
  return thread;
};

/** The parts of the stream that `open` opens, up to the first that is `last`; then it is closed, which leaving the loop alone does not. */
const read = async (open, last = () => false) => {
  const leaving = new AbortController();
  const parts = [];
  for await (const part of open({ signal: leaving.signal })) {
    parts.push(part);
    if (last(part)) break;
  }
  leaving.abort();
  return parts;
};

const custom = (part) => part.event === "custom";

/** Thread and run of a run that is inside its node and stays there. */
const slow = async (options = {}) => {
  const thread = await fresh();
  let run;
  const payload = {
    input: { seconds: 60, ticks: 1200, label: "a" },
    streamMode: "custom",
    onRunCreated: (created) => (run = created.run_id),
    ...options,
  };
  await read((leaving) => runs.stream(thread, "slow", { ...payload, ...leaving }), custom);
  return [thread, run];
};

const gone = (promise) => assert.rejects(promise, (error) => error.status === 404);

/** Options that create, stream and wait share; `valuesOf` gives the run's final values. */
const everyWayToBegin = async (begin, valuesOf) => {
  const values = async (thread, graph, options) => valuesOf(thread, await begin(thread, graph, options));
  const made = randomUUID();
  const found = await values(made, "counter", {
    input: { by: 2 },
    metadata: { m: 1 },
    webhook: "https://hooks.invalid/langlog",
    multitaskStrategy: "enqueue",
    ifNotExists: "create",
    onCompletion: "keep",
    afterSeconds: 0.01,
    durability: "sync",
    onRunCreated: (created) => assert.equal(created.thread_id, made),
  });
  assert.deepEqual(found, { by: 2, total: 4, log: ["add:2", "double"] });
  const [run] = await runs.list(made);
  assert.deepEqual([run.status, run.metadata.m], ["success", 1]);

  let thread = await fresh();
  const seen = await values(thread, "contextual", {
    input: { text: "x" },
    config: { configurable: { tone: "warm" }, tags: ["t"], recursion_limit: 7 },
  });
  assert.deepEqual([seen.saw_context.tone, seen.saw_tags, seen.saw_recursion_limit], ["warm", ["t"], 7]);
  const cool = await values(thread, "contextual", { input: { text: "x" }, context: { tone: "cool" } });
  assert.equal(cool.saw_context.tone, "cool");

  thread = await fresh();
  await values(thread, "counter", { input: { by: 1 }, interruptBefore: ["double"], interruptAfter: [] });
  const state = await threads.getState(thread);
  assert.deepEqual(state.next, ["double"]);
  for (const from of [{ checkpoint: state.checkpoint }, { checkpointId: state.checkpoint.checkpoint_id }]) {
    assert.deepEqual((await values(thread, "counter", { input: null, ...from })).log, ["add:1", "double"]);
  }

  thread = await fresh();
  await runs.wait(thread, "interrupting", { input: { draft: "x" } });
  assert.equal((await values(thread, "interrupting", { command: { resume: "yes" } })).final, "draft of x -> yes");
};

const drives = {
  threads: {
    async create() {
      const name = randomUUID();
      const made = await threads.create({
        threadId: name,
        metadata: { k: 1 },
        graphId: "counter",
        ifExists: "raise",
        ttl: 60,
        supersteps: [
          { updates: [{ values: { by: 2 }, asNode: "__start__" }] },
          { updates: [{ values: { total: 5, log: ["copied"] }, asNode: "add" }] },
        ],
      });
      assert.deepEqual([made.thread_id, made.metadata.k], [name, 1]);
      const state = await threads.getState(name);
      assert.deepEqual([state.values.total, state.next], [5, ["double"]]);
      const again = await threads.create({ threadId: name, ifExists: "do_nothing", metadata: { k: 2 } });
      assert.equal(again.metadata.k, 1);
    },
    async get() {
      const made = await threads.create({ metadata: { k: 1 } });
      assert.deepEqual(await threads.get(made.thread_id), made);
      await gone(threads.get(randomUUID()));
    },
    async update() {
      const { thread_id } = await threads.create({ metadata: { a: 1 } });
      const patched = await threads.update(thread_id, { metadata: { b: 2 }, ttl: 5 });
      assert.deepEqual(patched.metadata, { a: 1, b: 2 });
    },
    async copy() {
      const thread = await counted();
      const copied = await threads.copy(thread);
      const histories = [thread, copied.thread_id].map((t) => threads.getHistory(t, { limit: 10 }));
      const [first, second] = (await Promise.all(histories)).map((h) => h.map((s) => [s.checkpoint_id, s.values]));
      assert.deepEqual(first, second);
    },
    async delete() {
      const thread = await counted();
      await threads.delete(thread);
      await gone(threads.get(thread));
    },
    async search() {
      const suite = randomUUID();
      const made = [];
      for (const n of [0, 1, 2]) made.push((await threads.create({ metadata: { suite, n } })).thread_id);
      await runs.wait(made[1], "counter", { input: { by: 7 } });
      const ids = async (query) => (await threads.search(query)).map((t) => t.thread_id);
      const wanted = { metadata: { suite }, sortBy: "created_at", sortOrder: "asc" };
      assert.deepEqual(await ids({ ...wanted, limit: 10 }), made);
      assert.deepEqual(await ids({ ...wanted, limit: 1, offset: 1 }), [made[1]]);
      const found = await threads.search({ ids: made, status: "idle", values: { total: 14 }, select: ["thread_id"] });
      assert.deepEqual(found, [{ thread_id: made[1] }]);
    },
    async count() {
      const suite = randomUUID();
      const { thread_id } = await threads.create({ metadata: { suite } });
      await runs.wait(thread_id, "counter", { input: { by: 1 } });
      assert.equal(await threads.count({ metadata: { suite }, status: "idle", values: { by: 1 } }), 1);
      assert.equal(await threads.count({ metadata: { suite }, status: "error" }), 0);
    },
    async getState() {
      const thread = await counted();
      assert.equal((await threads.getState(thread)).values.total, 6);
      const [, middle] = await threads.getHistory(thread, { limit: 10 });
      for (const at of [middle.checkpoint, middle.checkpoint.checkpoint_id]) {
        const state = await threads.getState(thread, at);
        assert.deepEqual([state.values.total, state.next], [3, ["double"]]);
      }
      const nested = await fresh();
      await runs.wait(nested, "nested", { input: { pause: true } });
      const { tasks } = await threads.getState(nested, undefined, { subgraphs: true });
      assert.deepEqual(tasks[0].state.values, { pause: true, child_only: "x" });
    },
    async updateState() {
      const thread = await counted();
      await threads.updateState(thread, { values: { total: 10, log: ["edit"] }, asNode: "add" });
      assert.deepEqual((await threads.getState(thread)).next, ["double"]);
      const { checkpoint } = (await threads.getHistory(thread, { limit: 10 }))[2];
      for (const at of [{ checkpoint }, { checkpointId: checkpoint.checkpoint_id }]) {
        await threads.updateState(thread, { values: { log: ["branch"] }, asNode: "add", ...at });
        assert.deepEqual((await threads.getState(thread)).values.log, ["add:3", "branch"]);
      }
    },
    async patchState() {
      // PATCH /threads/{id}/state is no part of the contract
      await assert.rejects(threads.patchState(await counted(), { k: 1 }), (error) => error.status === 405);
    },
    async getHistory() {
      const thread = await counted();
      const history = await threads.getHistory(thread, { limit: 10 });
      assert.deepEqual(history.map((s) => s.metadata.step), [2, 1, 0, -1]);
      const before = { configurable: { checkpoint_id: history[1].checkpoint.checkpoint_id } };
      assert.deepEqual(await threads.getHistory(thread, { limit: 10, before }), history.slice(2));
      const filtered = { metadata: { step: 1 }, checkpoint: { checkpoint_ns: "" } };
      assert.deepEqual(await threads.getHistory(thread, { limit: 10, ...filtered }), history.slice(1, 2));
      const at = { checkpoint: { checkpoint_id: history[2].checkpoint.checkpoint_id } };
      assert.deepEqual(await threads.getHistory(thread, { limit: 10, ...at }), history.slice(2, 3));
    },
    async prune() {
      const [kept, pruned] = [await counted(), await counted()];
      assert.deepEqual(await threads.prune([pruned, randomUUID()]), { pruned_count: 1 });
      assert.deepEqual((await threads.search({ ids: [kept, pruned] })).map((t) => t.thread_id), [kept]);
    },
    async stream() {
      const thread = threads.stream({ assistantId: "interrupting", transport: "sse" });
      await thread.run.start({ input: { draft: "x" }, metadata: { m: 1 } });
      assert.deepEqual(await thread.output, { draft: "draft of x" });
      const [{ interruptId, namespace }] = thread.interrupts;
      await thread.respondInput({ namespace, interrupt_id: interruptId, response: "yes" });
      const [run] = await runs.list(thread.threadId);
      assert.equal((await runs.join(thread.threadId, run.run_id)).final, "draft of x -> yes");
      await thread.close();
    },
    async joinStream() {
      const thread = await fresh();
      const options = { input: { by: 1 }, streamMode: "updates", streamResumable: true };
      const { run_id } = await runs.create(thread, "counter", options);
      await runs.join(thread, run_id);
      const done = (part) => part.event === "metadata" && part.data.status === "run_done";
      const joined = (options) => read((leaving) => threads.joinStream(thread, { ...options, ...leaving }), done);
      const parts = await joined({ lastEventId: "-", streamMode: "run_modes" });
      assert.deepEqual(parts.map((part) => part.event), ["metadata", "updates", "updates", "metadata"]);
      const later = await joined({ lastEventId: parts[1].id });
      assert.deepEqual(later, parts.slice(2));
    },
  },

  runs: {
    async create() {
      const begin = (...args) => runs.create(...args);
      await everyWayToBegin(begin, (thread, run) => runs.join(thread, run.run_id));
      const run = await runs.create(await fresh(), "nested", {
        input: {},
        streamMode: ["values"],
        streamSubgraphs: true,
        streamResumable: true,
      });
      assert.deepEqual([run.status, run.kwargs.stream_mode, run.kwargs.subgraphs], ["pending", ["values"], true]);
      const stateless = await runs.create(null, "slow", { input: { seconds: 60 } });
      assert.equal((await threads.get(stateless.thread_id)).status, "busy");
      await runs.cancel(stateless.thread_id, stateless.run_id);
    },
    async wait() {
      await everyWayToBegin((...args) => runs.wait(...args), (thread, answer) => answer);
      const values = await runs.wait(null, "echo", { input: { text: "a" }, onDisconnect: "cancel" });
      assert.deepEqual(values, { text: "a", echoed: "A" });
      await assert.rejects(runs.wait(null, "failing", { input: { message: "bad luck" } }), /bad luck/);
      const failed = await runs.wait(null, "failing", { input: { message: "bad" }, raiseError: false });
      assert.deepEqual(failed, { __error__: { error: "ValueError", message: "bad" } });
    },
    async stream() {
      const whole = (...args) => read(() => runs.stream(...args));
      await everyWayToBegin(whole, (thread, parts) => parts.at(-1).data);
      const parts = await read(() =>
        runs.stream(null, "nested", {
          input: {},
          streamMode: ["updates", "custom"],
          streamSubgraphs: true,
          streamResumable: true,
          onDisconnect: "continue",
          feedbackKeys: [],
        }),
      );
      assert.equal(parts[0].event, "metadata");
      assert.ok(parts.some((part) => part.event.startsWith("custom|child:")));
      assert.ok(parts.every((part) => part.id));
    },
    async createBatch() {
      // this method hands on all but `assistantId` as it is
      const wanted = ["0", "1", "2"].map((text) => ({ assistantId: "echo", input: { text }, on_completion: "keep" }));
      const made = await runs.createBatch(wanted);
      const values = await Promise.all(made.map((run) => runs.join(run.thread_id, run.run_id)));
      assert.deepEqual(values.map((v) => v.echoed), ["0", "1", "2"]);
    },
    async list() {
      const thread = await fresh();
      for (const by of [0, 1, 2]) await runs.wait(thread, "counter", { input: { by } });
      const found = await runs.list(thread);
      assert.deepEqual(found.map((run) => run.kwargs.input.by), [2, 1, 0]);
      assert.deepEqual(await runs.list(thread, { limit: 1, offset: 1, status: "success" }), [found[1]]);
      assert.deepEqual(await runs.list(thread, { status: "error" }), []);
      const selected = await runs.list(thread, { limit: 1, select: ["run_id"] });
      assert.deepEqual(selected, [{ run_id: found[0].run_id }]);
    },
    async get() {
      const thread = await counted();
      const [run] = await runs.list(thread);
      assert.deepEqual(await runs.get(thread, run.run_id), run);
      await gone(runs.get(thread, randomUUID()));
    },
    async join() {
      const thread = await fresh();
      const run = await runs.create(thread, "slow", { input: { seconds: 0.2, label: "a" } });
      const values = await runs.join(thread, run.run_id);
      assert.deepEqual(values.done, ["begin:a", "slept:a"]);
      assert.deepEqual(await runs.join(thread, run.run_id), values);
    },
    async joinStream() {
      const [thread, run] = await slow({ streamResumable: true });
      const joined = (options) => read((leaving) => runs.joinStream(thread, run, { ...options, ...leaving }), custom);
      const whole = await joined({ lastEventId: "-1" });
      assert.deepEqual(whole.map((part) => part.event), ["metadata", "custom"]);
      const live = await joined({ streamMode: ["custom"] });
      assert.equal(live.at(-1).event, "custom");
      await joined({ cancelOnDisconnect: true });
      await runs.join(thread, run);
      assert.equal((await runs.get(thread, run)).status, "interrupted");
    },
    async cancel() {
      const [thread, run] = await slow();
      await runs.cancel(thread, run, true, "interrupt");
      assert.equal((await runs.get(thread, run)).status, "interrupted");
      const [other, second] = await slow();
      await runs.cancel(other, second, true, "rollback");
      await gone(runs.get(other, second));
    },
    async cancelMany() {
      const [thread, run] = await slow();
      await runs.cancelMany({ threadId: thread, runIds: [run], action: "interrupt" });
      await runs.join(thread, run);
      assert.equal((await runs.get(thread, run)).status, "interrupted");
      await gone(runs.cancelMany({ threadId: thread, runIds: [run] }));
    },
    async delete() {
      const thread = await counted();
      const [run] = await runs.list(thread);
      await runs.delete(thread, run.run_id);
      assert.deepEqual(await runs.list(thread), []);
    },
  },
};

const publicMethods = (object) => {
  const names = [];
  for (let p = Object.getPrototypeOf(object); p !== Object.prototype; p = Object.getPrototypeOf(p)) {
    names.push(...Object.getOwnPropertyNames(p));
  }
  return [...new Set(names)].filter((name) => !INHERITED.has(name) && !name.startsWith("_")).sort();
};

for (const [part, methods] of Object.entries(drives)) {
  test(`no public method of ${part} is forgotten`, () => {
    assert.deepEqual(publicMethods(client[part]), Object.keys(methods).sort());
  });
  for (const [name, drive] of Object.entries(methods)) {
    test(`${part}.${name} does what it is for`, { timeout: 90_000 }, drive);
  }
}
