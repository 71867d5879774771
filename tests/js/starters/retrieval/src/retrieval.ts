import { MemoryVectorStore } from "@langchain/classic/vectorstores/memory";
import type { RunnableConfig } from "@langchain/core/runnables";
import { OpenAIEmbeddings } from "@langchain/openai";

const vectors = new MemoryVectorStore(new OpenAIEmbeddings({ model: "text-embedding-3-small" }));

/** Sees the documents of one user alone. */
export async function makeRetriever(config: RunnableConfig) {
  const userId = userOf(config);
  return vectors.asRetriever({ k: 2, filter: (document) => document.metadata.user_id === userId });
}

export const userOf = (config: RunnableConfig): string => config.configurable?.userId ?? "default";
