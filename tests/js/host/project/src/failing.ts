import { END, START, StateGraph } from "@langchain/langgraph";
import { State } from "./shared";

class TooShort extends Error {
  override name = "TooShort";
}

export const graph = new StateGraph(State)
  .addNode("first", () => ({ seen: ["first"] }))
  .addNode("boom", (state: typeof State.State): Partial<typeof State.State> => {
    throw new TooShort(`${state.text} is too short`, { cause: new Error("a cause") });
  })
  .addEdge(START, "first")
  .addEdge("first", "boom")
  .addEdge("boom", END)
  .compile();
