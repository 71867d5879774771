// What the newer public starters are: an agent of the library's own, made by one call.
import { ChatOpenAI } from "@langchain/openai";
import { createAgent, tool } from "langchain";
import { z } from "zod";

const weather = tool(({ city }) => `It is sunny in ${city}.`, {
  name: "get_weather",
  description: "The weather of a city.",
  schema: z.object({ city: z.string() }),
});

const model = new ChatOpenAI({ model: "gpt-4.1-mini" });

export const agent = createAgent({ model, tools: [weather], systemPrompt: "You know the weather." });
