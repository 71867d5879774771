// One node: upper-cases the input text.
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ text: Annotation<string>, echoed: Annotation<string> });

export const graph = new StateGraph(State)
  .addNode("echo", (state) => ({ echoed: (state.text ?? "").toUpperCase() }))
  .addEdge(START, "echo")
  .addEdge("echo", END)
  .compile();
