import { tool } from "@langchain/core/tools";
import { z } from "zod";

const search = tool(async ({ query }) => `Three results for ${query}.`, {
  name: "search",
  description: "Search the web.",
  schema: z.object({ query: z.string().describe("What to search for.") }),
});

export const TOOLS = [search];
