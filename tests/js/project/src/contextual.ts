// A static graph with a context schema; the node reports the context it was given.
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";

const Context = z.object({ tone: z.string().default("neutral"), limit: z.number().int().default(3) });

const State = Annotation.Root({
  text: Annotation<string>,
  saw_context: Annotation<Record<string, unknown>>,
  saw_configurable: Annotation<Record<string, unknown>>,
  saw_metadata: Annotation<Record<string, unknown>>,
  saw_tags: Annotation<string[]>,
  saw_recursion_limit: Annotation<number>,
});

/** What JSON can hold, without the library's own members. */
const plain = (members: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(members).filter(
      ([key, value]) => !key.startsWith("__") && (value === null || ["string", "number", "boolean"].includes(typeof value) || Array.isArray(value)),
    ),
  );

export const graph = new StateGraph(State, Context)
  .addNode("report", (_state, config: LangGraphRunnableConfig) => ({
    saw_context: Context.parse(config.context ?? {}),
    saw_configurable: plain(config.configurable ?? {}),
    saw_metadata: plain(config.metadata ?? {}),
    saw_tags: config.tags ?? [],
    saw_recursion_limit: config.recursionLimit,
  }))
  .addEdge(START, "report")
  .addEdge("report", END)
  .compile();
