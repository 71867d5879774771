import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  seconds: Annotation<number>,
  ticks: Annotation<number>,
  done: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export const graph = new StateGraph(State)
  .addNode("begin", () => ({ done: ["begin"] }))
  .addNode("sleeper", async (state, config) => {
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
