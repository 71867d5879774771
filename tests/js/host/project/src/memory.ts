import { Annotation, END, getStore, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({ user: Annotation<string>, remember: Annotation<string>, recalled: Annotation<string[]> });

export const graph = new StateGraph(State)
  .addNode("remembering", async (state) => {
    const store = getStore()!;
    const namespace = ["memories", state.user ?? "anon"];
    if (state.remember) await store.put(namespace, state.remember, { text: state.remember });
    const items = await store.search(namespace, { limit: 50 });
    return { recalled: items.map((item) => item.value.text as string).sort() };
  })
  .addEdge(START, "remembering")
  .addEdge("remembering", END)
  .compile();
