import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ draft: Annotation<string>, answer: Annotation<unknown>, final: Annotation<string> });

export const graph = new StateGraph(State)
  .addNode("prepare", (state) => ({ draft: `draft of ${state.draft ?? "nothing"}` }))
  .addNode("ask", (state) => ({ answer: interrupt({ question: "approve?", draft: state.draft }) }))
  .addNode("finish", (state) => ({ final: `${state.draft} -> ${String(state.answer)}` }))
  .addEdge(START, "prepare")
  .addEdge("prepare", "ask")
  .addEdge("ask", "finish")
  .addEdge("finish", END)
  .compile();
