// Indexes documents that are given to it, and keeps none of them in its state.
import { Document } from "@langchain/core/documents";
import type { RunnableConfig } from "@langchain/core/runnables";
import { StateGraph } from "@langchain/langgraph";
import { makeRetriever, userOf } from "./retrieval.js";
import { IndexStateAnnotation } from "./state.js";

async function indexDocs(state: typeof IndexStateAnnotation.State, config?: RunnableConfig): Promise<{ docs: string }> {
  if (!config) throw new Error("Configuration required to run indexDocs.");
  const retriever = await makeRetriever(config);
  const user_id = userOf(config);
  await retriever.addDocuments(
    state.docs.map((doc) => new Document({ pageContent: doc.pageContent, metadata: { ...doc.metadata, user_id } })),
  );
  return { docs: "delete" };
}

export const graph = new StateGraph({ stateSchema: IndexStateAnnotation })
  .addNode("indexDocs", indexDocs)
  .addEdge("__start__", "indexDocs")
  .compile();

graph.name = "Index Graph";
