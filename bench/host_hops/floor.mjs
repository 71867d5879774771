// What the library takes by itself for the run of `bench.host_hops`: no server, its saver in memory.
import { Annotation, END, MemorySaver, START, StateGraph } from "@langchain/langgraph";
import { randomUUID } from "node:crypto";

const WARM_UP_RUNS = 300;
const RUNS = 700;
const PAUSES_MS = [0, 6];

const State = Annotation.Root({ text: Annotation(), seen: Annotation({ reducer: (seen, more) => seen.concat(more), default: () => [] }) });
const checkpointer = new MemorySaver();
const graph = new StateGraph(State)
  .addNode("echo", async (state) => ({ seen: [`said ${state.text}`] }))
  .addEdge(START, "echo")
  .addEdge("echo", END)
  .compile({ checkpointer });

async function run() {
  const options = { streamMode: ["updates", "values"], runId: randomUUID(), signal: new AbortController().signal };
  const began = process.hrtime.bigint();
  for await (const _ of await graph.stream({ text: "hello" }, { ...options, configurable: { thread_id: randomUUID() } }));
  const took = Number(process.hrtime.bigint() - began) / 1e6;
  checkpointer.storage = {};
  checkpointer.writes = {};
  return took;
}

for (let i = 0; i < WARM_UP_RUNS; i++) await run();
for (const pause of PAUSES_MS) {
  const times = [];
  const before = process.cpuUsage();
  for (let i = 0; i < RUNS; i++) {
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    times.push(await run());
  }
  const { user, system } = process.cpuUsage(before);
  times.sort((a, b) => a - b);
  const [p10, p50] = [times[RUNS / 10], times[RUNS / 2]].map((each) => each.toFixed(2));
  console.log(`floor, ${pause} ms pause: p50 ${p50} ms, p10 ${p10}, CPU ${((user + system) / 1000 / RUNS).toFixed(2)} ms`);
}
