// First node succeeds, second one throws a `ValueError` (unless told not to).
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ message: Annotation<string>, ok: Annotation<boolean>, reached: Annotation<string> });

/** Named as the Python graph's, so that what clients get is the same. */
class ValueError extends Error {
  override name = "ValueError";
}

export const graph = new StateGraph(State)
  .addNode("first", () => ({ reached: "first" }))
  .addNode("boom", (state) => {
    if (state.ok) return { reached: "second" };
    throw new ValueError(state.message ?? "boom");
  })
  .addEdge(START, "first")
  .addEdge("first", "boom")
  .addEdge("boom", END)
  .compile();
