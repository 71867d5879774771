// Chat with one tool. `add 2 3` goes through the tool node.
import { type AIMessage, ToolMessage } from "@langchain/core/messages";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ScriptedModel } from "./fakes.js";

const model = new ScriptedModel();
type State = typeof MessagesAnnotation.State;

const lastCalls = (state: State) => (state.messages[state.messages.length - 1] as AIMessage).tool_calls ?? [];

async function callModel(state: State) {
  return { messages: [await model.invoke(state.messages)] };
}

function callTool(state: State) {
  return {
    messages: lastCalls(state).map(
      (call) => new ToolMessage({ content: String(call.args.a + call.args.b), name: call.name, tool_call_id: call.id ?? "" }),
    ),
  };
}

export const graph = new StateGraph(MessagesAnnotation)
  .addNode("model", callModel)
  .addNode("tools", callTool)
  .addEdge(START, "model")
  .addConditionalEdges("model", (state) => (lastCalls(state).length > 0 ? "tools" : END), ["tools", END])
  .addEdge("tools", "model")
  .compile();
