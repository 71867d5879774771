// A parent with a subgraph node, which itself holds a subgraph. With `pause` the innermost node asks a person first.
import { Annotation, END, interrupt, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const Leaf = Annotation.Root({ pause: Annotation<boolean>, leaf_said: Annotation<unknown> });

const inner = new StateGraph(Leaf)
  .addNode("leaf", (state, config: LangGraphRunnableConfig) => {
    config.writer?.({ at: "leaf" });
    return { leaf_said: state.pause ? interrupt({ ask: "leaf" }) : "leaf" };
  })
  .addEdge(START, "leaf")
  .addEdge("leaf", END)
  .compile();

const Child = Annotation.Root({ ...Leaf.spec, child_only: Annotation<string> });

const child = new StateGraph(Child)
  .addNode("child_step", () => ({ child_only: "x" }))
  .addNode("inner", inner)
  .addEdge(START, "child_step")
  .addEdge("child_step", "inner")
  .addEdge("inner", END)
  .compile();

const State = Annotation.Root({
  trail: Annotation<string[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
  ...Leaf.spec,
});

export const graph = new StateGraph(State)
  .addNode("before", () => ({ trail: ["before"] }))
  .addNode("child", child)
  .addNode("after", () => ({ trail: ["after"] }))
  .addEdge(START, "before")
  .addEdge("before", "child")
  .addEdge("child", "after")
  .addEdge("after", END)
  .compile();
