import { END, START, StateGraph } from "@langchain/langgraph";
import { State } from "./shared.js";

enum Words {
  Said = "said",
}

export const graph = new StateGraph(State)
  .addNode("echo", async (state: typeof State.State) => {
    console.log("echo", state.text);
    return { seen: [`${Words.Said} ${state.text}`] };
  })
  .addEdge(START, "echo")
  .addEdge("echo", END)
  .compile();

/** The same without a line in the log. */
export const quiet = new StateGraph(State)
  .addNode("echo", async (state: typeof State.State) => ({ seen: [`${Words.Said} ${state.text}`] }))
  .addEdge(START, "echo")
  .addEdge("echo", END)
  .compile();
