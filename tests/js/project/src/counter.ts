// Accumulates: `total` adds up, `log` appends. Two nodes, for time travel.
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  by: Annotation<number>,
  total: Annotation<number>({ reducer: (left, right) => left + right, default: () => 0 }),
  log: Annotation<string[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
});

export const graph = new StateGraph(State)
  .addNode("add", (state) => ({ total: state.by ?? 1, log: [`add:${state.by ?? 1}`] }))
  .addNode("double", (state) => ({ total: state.total, log: ["double"] }))
  .addEdge(START, "add")
  .addEdge("add", "double")
  .addEdge("double", END)
  .compile();
