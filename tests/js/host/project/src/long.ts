/** As many steps as its input says. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ left: Annotation<number>, steps: Annotation<number> });

const builder = new StateGraph(State)
  .addNode("step", (state: { left: number; steps?: number }) => ({ left: state.left - 1, steps: (state.steps ?? 0) + 1 }))
  .addEdge(START, "step")
  .addConditionalEdges("step", (state: { left: number }) => (state.left > 0 ? "step" : END));

export const graph = builder.compile();
export const short = builder.compile().withConfig({ recursionLimit: 5 });
export const far = builder.compile().withConfig({ recursionLimit: 60 });
