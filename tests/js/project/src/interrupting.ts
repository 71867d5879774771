// Three nodes; the middle one asks a person. Also fit for interrupt_before/after.
import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  draft: Annotation<string>,
  answer: Annotation<unknown>,
  final: Annotation<string>,
  skip: Annotation<boolean>,
});

export const graph = new StateGraph(State)
  .addNode("prepare", (state) => ({ draft: `draft of ${state.draft ?? "nothing"}` }))
  .addNode("ask", (state) => ({ answer: state.skip ? "skipped" : interrupt({ question: "approve?", draft: state.draft }) }))
  .addNode("finish", (state) => ({ final: `${state.draft} -> ${state.answer}` }))
  .addEdge(START, "prepare")
  .addEdge("prepare", "ask")
  .addEdge("ask", "finish")
  .addEdge("finish", END)
  .compile();
