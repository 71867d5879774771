import type { RunnableConfig } from "@langchain/core/runnables";
import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";

const State = z.object({ text: z.string(), styled: z.string().optional() });
const Context = z.object({ tone: z.string().default("plain") });

/** Another graph for another config. */
export async function make(config: RunnableConfig) {
  const loud = config.configurable?.style === "loud";
  return new StateGraph(State, Context)
    .addNode(loud ? "loud" : "plain", (state: z.infer<typeof State>) => ({ styled: loud ? state.text.toUpperCase() : state.text }))
    .addEdge(START, loud ? "loud" : "plain")
    .addEdge(loud ? "loud" : "plain", END);
}
