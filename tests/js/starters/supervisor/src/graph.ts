// A supervisor that hands tasks to two agents, each a graph of its own.
import { tool } from "@langchain/core/tools";
import { createReactAgent } from "@langchain/langgraph/prebuilt";
import { createSupervisor } from "@langchain/langgraph-supervisor";
import { ChatOpenAI } from "@langchain/openai";
import { z } from "zod";

const model = new ChatOpenAI({ model: "gpt-4.1-mini" });

const add = tool(async ({ a, b }) => String(a + b), {
  name: "add",
  description: "Add two numbers.",
  schema: z.object({ a: z.number(), b: z.number() }),
});
const lookUp = tool(async ({ word }) => `${word}: four letters.`, {
  name: "look_up",
  description: "Look up a word.",
  schema: z.object({ word: z.string() }),
});

const mathematician = createReactAgent({ llm: model, tools: [add], name: "mathematician", prompt: "You calculate." });
const librarian = createReactAgent({ llm: model, tools: [lookUp], name: "librarian", prompt: "You look things up." });

export const graph = createSupervisor({
  agents: [mathematician, librarian],
  llm: model,
  prompt: "You manage a mathematician and a librarian.",
}).compile();
