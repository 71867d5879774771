// Pushes a component of its `ui`, as the official helper does.
import { AIMessage, type BaseMessage } from "@langchain/core/messages";
import { type LangGraphRunnableConfig, MessagesAnnotation, StateGraph, Annotation, START } from "@langchain/langgraph";
import { typedUi, uiMessageReducer } from "@langchain/langgraph-sdk/react-ui/server";
import type Components from "./ui.js";

const State = Annotation.Root({
  ...MessagesAnnotation.spec,
  ui: Annotation({ reducer: uiMessageReducer, default: () => [] }),
});

async function weather(state: { messages: BaseMessage[] }, config: LangGraphRunnableConfig) {
  const ui = typedUi<typeof Components>(config);
  const message = new AIMessage({ id: crypto.randomUUID(), content: "Here is the weather" });
  ui.push({ name: "weather", props: { city: String(state.messages.at(-1)?.content) } }, { message });
  return { messages: [message] };
}

export const graph = new StateGraph(State).addNode("weather", weather).addEdge(START, "weather").compile();
