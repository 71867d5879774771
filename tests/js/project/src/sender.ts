// Fan-out with Send: one worker per item, then a join.
import { Annotation, END, Send, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  items: Annotation<number[]>,
  squares: Annotation<number[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
  total: Annotation<number>,
});

export const graph = new StateGraph(State)
  .addNode("plan", () => ({}))
  .addNode("square", (task: unknown) => ({ squares: [(task as { item: number }).item ** 2] }))
  .addNode("collect", (state) => ({ total: state.squares.reduce((sum, square) => sum + square, 0) }))
  .addEdge(START, "plan")
  .addConditionalEdges("plan", (state) => (state.items ?? []).map((item) => new Send("square", { item })), ["square"])
  .addEdge("square", "collect")
  .addEdge("collect", END)
  .compile();
