// Answers from documents: a query from the conversation, documents to the query, an answer from both.
import { ChatPromptTemplate } from "@langchain/core/prompts";
import type { RunnableConfig } from "@langchain/core/runnables";
import { StateGraph } from "@langchain/langgraph";
import { ChatOpenAI } from "@langchain/openai";
import { z } from "zod";
import { makeRetriever } from "./retrieval.js";
import { InputStateAnnotation, StateAnnotation } from "./state.js";

type State = typeof StateAnnotation.State;

const SearchQuery = z.object({ query: z.string().describe("What to search the documents for.") });
const model = new ChatOpenAI({ model: "gpt-4.1-mini" });

async function generateQuery(state: State, config?: RunnableConfig): Promise<{ queries: string[] }> {
  if (state.messages.length === 1) return { queries: [state.messages[0]!.text] };
  const prompt = ChatPromptTemplate.fromMessages([
    ["system", "Write a query. Earlier ones: {queries}"],
    ["placeholder", "{messages}"],
  ]);
  const value = await prompt.invoke({ ...state, queries: state.queries.join("\n- ") }, config);
  const generated = await model.withStructuredOutput(SearchQuery).invoke(value, config);
  return { queries: [generated.query] };
}

async function retrieve(state: State, config: RunnableConfig) {
  const retriever = await makeRetriever(config);
  return { retrievedDocs: await retriever.invoke(state.queries[state.queries.length - 1]!, config) };
}

async function respond(state: State, config: RunnableConfig) {
  const prompt = ChatPromptTemplate.fromMessages([
    ["system", "Answer from these documents: {documents}"],
    ["placeholder", "{messages}"],
  ]);
  const documents = state.retrievedDocs.map((document) => document.pageContent).join("\n");
  return { messages: [await model.invoke(await prompt.invoke({ ...state, documents }, config), config)] };
}

export const graph = new StateGraph({ stateSchema: StateAnnotation, input: InputStateAnnotation })
  .addNode("generateQuery", generateQuery)
  .addNode("retrieve", retrieve)
  .addNode("respond", respond)
  .addEdge("__start__", "generateQuery")
  .addEdge("generateQuery", "retrieve")
  .addEdge("retrieve", "respond")
  .compile({ interruptBefore: [], interruptAfter: [] });

graph.name = "Retrieval Graph";
