// Sleeps `seconds` in `ticks` steps and emits a custom event per tick.
import { setTimeout } from "node:timers/promises";
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  seconds: Annotation<number>,
  ticks: Annotation<number>,
  label: Annotation<string>,
  done: Annotation<string[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
});

export const graph = new StateGraph(State)
  .addNode("begin", (state) => ({ done: [`begin:${state.label ?? ""}`] }))
  .addNode("sleeper", async (state, config: LangGraphRunnableConfig) => {
    const ticks = state.ticks || 4;
    for (let tick = 0; tick < ticks; tick++) {
      config.writer?.({ tick, label: state.label ?? "" });
      await setTimeout(((state.seconds ?? 1) * 1000) / ticks, undefined, { signal: config.signal });
    }
    return { done: [`slept:${state.label ?? ""}`] };
  })
  .addEdge(START, "begin")
  .addEdge("begin", "sleeper")
  .addEdge("sleeper", END)
  .compile();
