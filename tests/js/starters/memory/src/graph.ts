// An agent that keeps what people say in the store, and reads it back in every conversation.
import type { AIMessage, BaseMessage } from "@langchain/core/messages";
import { END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";
import { initChatModel } from "langchain/chat_models/universal";
import { ConfigurationAnnotation, ensureConfiguration } from "./configuration.js";
import { GraphAnnotation } from "./state.js";
import { initializeTools } from "./tools.js";

type State = typeof GraphAnnotation.State;

async function callModel(state: State, config: LangGraphRunnableConfig): Promise<{ messages: BaseMessage[] }> {
  if (!config.store) throw new Error("Store not found in configuration");
  const configurable = ensureConfiguration(config);
  const memories = await config.store.search(["memories", configurable.userId], { limit: 10 });
  const known = memories.map((memory) => `[${memory.key}]: ${JSON.stringify(memory.value)}`).join("\n");
  const [modelProvider, model] = configurable.model.split("/", 2) as [string, string];
  const llm = await initChatModel(model, { modelProvider });
  const result = await llm
    .bindTools(initializeTools(config), { tool_choice: "auto" })
    .invoke([{ role: "system", content: configurable.systemPrompt.replace("{user_info}", known) }, ...state.messages]);
  return { messages: [result] };
}

async function storeMemory(state: State, config: LangGraphRunnableConfig): Promise<{ messages: BaseMessage[] }> {
  const last = state.messages[state.messages.length - 1] as AIMessage;
  const [upsertMemory] = initializeTools(config);
  const saved = await Promise.all((last.tool_calls ?? []).map((call) => upsertMemory!.invoke({ ...call, type: "tool_call" })));
  return { messages: saved };
}

function routeMessage(state: State): "store_memory" | typeof END {
  const last = state.messages[state.messages.length - 1] as AIMessage;
  return last.tool_calls?.length ? "store_memory" : END;
}

export const builder = new StateGraph({ stateSchema: GraphAnnotation }, ConfigurationAnnotation)
  .addNode("call_model", callModel)
  .addNode("store_memory", storeMemory)
  .addEdge(START, "call_model")
  .addConditionalEdges("call_model", routeMessage, { store_memory: "store_memory", [END]: END })
  .addEdge("store_memory", "call_model");

export const graph = builder.compile();
graph.name = "MemoryAgent";
