/** A channel that the library never stores, and a stop for a human. */
import { Annotation, END, START, StateGraph, UntrackedValueChannel, interrupt } from "@langchain/langgraph";

const State = Annotation.Root({
  steps: Annotation<number>,
  ask: Annotation<boolean>,
  seen: Annotation<string>,
  token: () => new UntrackedValueChannel<string>(),
});

export const graph = new StateGraph(State)
  .addNode("first", (state: any) => ({ steps: state.steps + 1, token: `made from ${state.token}` }))
  .addNode("second", (state: any) => {
    if (state.ask) interrupt("go on?");
    return { steps: state.steps + 1, seen: `${state.token}` };
  })
  .addEdge(START, "first")
  .addEdge("first", "second")
  .addEdge("second", END)
  .compile();
