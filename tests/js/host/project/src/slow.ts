import { writeFileSync } from "node:fs";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  seconds: Annotation<number>,
  ticks: Annotation<number>,
  /** A file that is written when the node has begun. */
  mark: Annotation<string>,
  done: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export const graph = new StateGraph(State)
  .addNode("begin", () => ({ done: ["begin"] }))
  .addNode("sleeper", async (state, config) => {
    if (state.mark) writeFileSync(state.mark, String(process.pid));
    const ticks = state.ticks ?? 4;
    for (let tick = 0; tick < ticks; tick++) {
      config.writer?.({ tick });
      await sleep((1000 * (state.seconds ?? 1)) / ticks);
    }
    return { done: ["slept"] };
  })
  .addEdge(START, "begin")
  .addEdge("begin", "sleeper")
  .addEdge("sleeper", END)
  .compile();

/** Holds the event loop of its process. */
export const busy = new StateGraph(State)
  .addNode("busy", (state) => {
    if (state.mark) writeFileSync(state.mark, String(process.pid));
    const until = Date.now() + 1000 * (state.seconds ?? 3);
    while (Date.now() < until);
    return { done: ["busy"] };
  })
  .addEdge(START, "busy")
  .addEdge("busy", END)
  .compile();
