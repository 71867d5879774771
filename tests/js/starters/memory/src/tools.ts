import { randomUUID } from "node:crypto";
import { tool } from "@langchain/core/tools";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { z } from "zod";
import { ensureConfiguration } from "./configuration.js";

/** Made for each run, because they need its store and its user. */
export function initializeTools(config?: LangGraphRunnableConfig) {
  const upsertMemory = tool(
    async ({ content, context, memoryId }) => {
      if (!config?.store) throw new Error("Config or store not provided");
      const id = memoryId ?? randomUUID();
      await config.store.put(["memories", ensureConfiguration(config).userId], id, { content, context });
      return `Stored memory ${id}`;
    },
    {
      name: "upsertMemory",
      description: "Keep something that the user has said; with the id of a memory, in its place.",
      schema: z.object({ content: z.string(), context: z.string(), memoryId: z.string().optional() }),
    },
  );
  return [upsertMemory];
}
