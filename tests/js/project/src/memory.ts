// Reads and writes the store the server hands to the graph. Its node cannot be `remember`, as a member of the state is.
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ user: Annotation<string>, remember: Annotation<string>, recalled: Annotation<string[]> });

export const graph = new StateGraph(State)
  .addNode("recall", async (state, config: LangGraphRunnableConfig) => {
    const { store } = config;
    if (store === undefined) throw new Error("the server hands no store to this graph");
    const namespace = ["memories", state.user ?? "anon"];
    if (state.remember) await store.put(namespace, state.remember, { text: state.remember });
    const items = await store.search(namespace, { limit: 50 });
    return { recalled: items.map((item) => item.value.text as string).sort() };
  })
  .addEdge(START, "recall")
  .addEdge("recall", END)
  .compile();
