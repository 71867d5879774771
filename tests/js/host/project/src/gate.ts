import { existsSync } from "node:fs";
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  /** A file: nodes wait until it is there. */
  gate: Annotation<string>,
  done: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function pass(state: typeof State.State, config: LangGraphRunnableConfig) {
  config.writer?.({ pid: process.pid });
  while (!existsSync(state.gate)) await sleep(20);
  return { done: ["passed"] };
}

/** Waits at the gate in its first step, and has another after it. */
export const gated = new StateGraph(State)
  .addNode("wait", pass)
  .addNode("end", () => ({ done: ["end"] }))
  .addEdge(START, "wait")
  .addEdge("wait", "end")
  .addEdge("end", END)
  .compile();

/** Waits at the gate in its second step; says in which process. */
export const gate = new StateGraph(State)
  .addNode("begin", () => ({ done: ["begin"] }))
  .addNode("wait", pass)
  .addEdge(START, "begin")
  .addEdge("begin", "wait")
  .addEdge("wait", END)
  .compile();

/** The same, but holds the event loop of its process meanwhile. */
export const busy = new StateGraph(State)
  .addNode("begin", async (_, config) => {
    config.writer?.({ pid: process.pid });
    await sleep(50); // what was written leaves
    return { done: ["begin"] };
  })
  .addNode("hold", (state) => {
    while (!existsSync(state.gate));
    return { done: ["passed"] };
  })
  .addEdge(START, "begin")
  .addEdge("begin", "hold")
  .addEdge("hold", END)
  .compile();

/** Ends its process each time. */
export const deadly = new StateGraph(State)
  .addNode("begin", () => ({ done: ["begin"] }))
  .addNode("end", () => {
    process.kill(process.pid, "SIGKILL");
    return {};
  })
  .addEdge(START, "begin")
  .addEdge("begin", "end")
  .addEdge("end", END)
  .compile();

/** Takes all the memory there is. */
export const greedy = new StateGraph(State)
  .addNode("grow", () => {
    const held: number[][] = [];
    for (;;) held.push(new Array(1_000_000).fill(held.length));
  })
  .addEdge(START, "grow")
  .addEdge("grow", END)
  .compile();
