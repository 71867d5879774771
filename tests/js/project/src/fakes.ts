// A deterministic chat model: no network, streams one token per word.
import { CallbackManagerForLLMRun } from "@langchain/core/callbacks/manager";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, AIMessageChunk, type BaseMessage, ToolMessage } from "@langchain/core/messages";
import { ChatGenerationChunk, type ChatResult } from "@langchain/core/outputs";

type Call = { name: string; args: Record<string, unknown>; id: string; type: "tool_call" };

/**
 * Answers from the conversation alone: `add 2 3` calls the tool `add`, a tool's message is read out, and every other text comes back
 * behind `You said:`.
 */
export class ScriptedModel extends BaseChatModel {
  prefix = "You said:";

  constructor() {
    super({});
  }

  _llmType() {
    return "scripted";
  }

  private plan(messages: BaseMessage[]): [string, Call[]] {
    const last = messages[messages.length - 1];
    if (ToolMessage.isInstance(last)) return [`The result is ${last.text}.`, []];
    const words = last.text.split(/\s+/).filter((word) => word !== "");
    if (words[0] === "add") {
      const [a, b] = [Number(words[1]), Number(words[2])];
      return ["", [{ name: "add", args: { a, b }, id: `call-${a}-${b}`, type: "tool_call" }]];
    }
    return [`${this.prefix} ${last.text}`, []];
  }

  async _generate(messages: BaseMessage[]): Promise<ChatResult> {
    const [text, calls] = this.plan(messages);
    return { generations: [{ text, message: new AIMessage({ content: text, tool_calls: calls }) }] };
  }

  async *_streamResponseChunks(
    messages: BaseMessage[],
    _options: this["ParsedCallOptions"],
    runManager?: CallbackManagerForLLMRun,
  ): AsyncGenerator<ChatGenerationChunk> {
    const [text, calls] = this.plan(messages);
    const pieces: AIMessageChunk[] = calls.map(
      (call, index) =>
        new AIMessageChunk({
          content: "",
          tool_call_chunks: [{ name: call.name, args: JSON.stringify(call.args), id: call.id, index, type: "tool_call_chunk" }],
        }),
    );
    const words = text === "" ? [] : text.split(" ");
    pieces.push(...words.map((word, index) => new AIMessageChunk({ content: index === 0 ? word : ` ${word}` })));
    for (const message of pieces) {
      const chunk = new ChatGenerationChunk({ text: message.text, message });
      yield chunk;
      await runManager?.handleLLMNewToken(message.text, undefined, undefined, undefined, undefined, { chunk });
    }
  }
}
