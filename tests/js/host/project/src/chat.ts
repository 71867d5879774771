import { FakeStreamingChatModel } from "@langchain/core/utils/testing";
import { AIMessage, type BaseMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";

const model = new FakeStreamingChatModel({ responses: [new AIMessage("one two three")], sleep: 0 });

export const graph = new StateGraph(MessagesAnnotation)
  .addNode("model", async (state: { messages: BaseMessage[] }) => ({ messages: [await model.invoke(state.messages)] }))
  .addEdge(START, "model")
  .addEdge("model", END)
  .compile();
