/** A node of tools: it carries out the calls of the last message, without a model. */
import { tool } from "@langchain/core/tools";
import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { z } from "zod";

const add = tool(({ a, b }: { a: number; b: number }) => String(a + b), {
  name: "add",
  description: "Add two numbers.",
  schema: z.object({ a: z.number(), b: z.number() }),
});

export const graph = new StateGraph(MessagesAnnotation).addNode("tools", new ToolNode([add])).addEdge(START, "tools").compile();
