import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";

const Leaf = Annotation.Root({ pause: Annotation<boolean>, leaf_said: Annotation<unknown> });
const inner = new StateGraph(Leaf)
  .addNode("leaf", (state, config) => {
    config.writer?.({ at: "leaf" });
    return { leaf_said: state.pause ? interrupt({ ask: "leaf" }) : "leaf" };
  })
  .addEdge(START, "leaf")
  .addNode("twig", () => ({}))
  .addEdge("leaf", "twig")
  .addEdge("twig", END)
  .compile();

const State = Annotation.Root({
  trail: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  pause: Annotation<boolean>,
  leaf_said: Annotation<unknown>,
});
export const graph = new StateGraph(State)
  .addNode("before", () => ({ trail: ["before"] }))
  .addNode("child", inner)
  .addNode("after", () => ({ trail: ["after"] }))
  .addEdge(START, "before")
  .addEdge("before", "child")
  .addEdge("child", "after")
  .addEdge("after", END)
  .compile();
