// What a page talks to (tests/clients): a tool behind an approval, a subgraph, and an answer long enough to be cut off.
import { setTimeout } from "node:timers/promises";
import type { CallbackManagerForLLMRun } from "@langchain/core/callbacks/manager";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, AIMessageChunk, type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatGenerationChunk, type ChatResult } from "@langchain/core/outputs";
import { END, interrupt, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";

type State = typeof MessagesAnnotation.State;

/** Between two numbers of a count: a page has time to press a button. */
const PAUSE_MS = 30;

/** Answers by the last message: `weather in X` calls the tool, `count N` counts slowly, others are repeated. */
class Scripted extends BaseChatModel {
  constructor() {
    super({});
  }

  _llmType() {
    return "scripted";
  }

  async _generate(messages: BaseMessage[]): Promise<ChatResult> {
    const text = messages[messages.length - 1].text;
    return { generations: [{ text, message: new AIMessage(text) }] };
  }

  async *_streamResponseChunks(
    messages: BaseMessage[],
    options: this["ParsedCallOptions"],
    run?: CallbackManagerForLLMRun,
  ): AsyncGenerator<ChatGenerationChunk> {
    const last = messages[messages.length - 1];
    const text = last.text;
    if (HumanMessage.isInstance(last) && text.startsWith("weather in ")) {
      const args = JSON.stringify({ place: text.slice("weather in ".length) });
      const call = { name: "weather", args, id: `call-${messages.length}`, index: 0, type: "tool_call_chunk" as const };
      yield new ChatGenerationChunk({ text: "", message: new AIMessageChunk({ content: "", tool_call_chunks: [call] }) });
      return;
    }
    const counts = text.startsWith("count ");
    const words = counts ? [...Array(Number(text.split(" ")[1])).keys()].map(String) : `You said: ${text}`.split(" ");
    for (const [at, word] of words.entries()) {
      const said = at === 0 ? word : ` ${word}`;
      const chunk = new ChatGenerationChunk({ text: said, message: new AIMessageChunk({ content: said }) });
      yield chunk;
      await run?.handleLLMNewToken(said, undefined, undefined, undefined, undefined, { chunk });
      if (counts) await setTimeout(PAUSE_MS, undefined, { signal: options.signal });
    }
  }
}

const model = new Scripted();

async function answer(state: State) {
  return { messages: [await model.invoke(state.messages)] };
}

function lookUp(state: State) {
  const [call] = (state.messages[state.messages.length - 1] as AIMessage).tool_calls ?? [];
  const allowed = interrupt({ question: `look up ${call.args.place}?` });
  const content = allowed === "yes" ? `sunny in ${call.args.place}` : "not allowed";
  return { messages: [new ToolMessage({ content, tool_call_id: call.id ?? "", name: "weather" })] };
}

async function read(state: State) {
  const topic = state.messages[state.messages.length - 1].text;
  return { messages: [await model.invoke([new HumanMessage(`I read about ${topic}`)])] };
}

const shelf = new StateGraph(MessagesAnnotation).addNode("read", read).addEdge(START, "read").addEdge("read", END);
const library = new StateGraph(MessagesAnnotation)
  .addNode("shelf", shelf.compile())
  .addEdge(START, "shelf")
  .addEdge("shelf", END);

const lastOf = (state: State) => state.messages[state.messages.length - 1];

export const graph = new StateGraph(MessagesAnnotation)
  .addNode("answer", answer)
  .addNode("look_up", lookUp)
  .addNode("library", library.compile())
  .addConditionalEdges(START, (state) => (lastOf(state).text.startsWith("research ") ? "library" : "answer"), ["library", "answer"])
  .addConditionalEdges("answer", (state) => ((lastOf(state) as AIMessage).tool_calls?.length ? "look_up" : END), ["look_up", END])
  .addEdge("look_up", "answer")
  .addEdge("library", END)
  .compile();
