// The chat model: what CHAT_MODEL names (`openai:gpt-4.1-mini`, `anthropic:claude-haiku-4-5`), or without it a script.
//
// The script needs no key and no network, and always answers the same: good for a first run, and for tests.
import type { CallbackManagerForLLMRun } from "@langchain/core/callbacks/manager";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { type AIMessage, AIMessageChunk, type BaseMessage } from "@langchain/core/messages";
import { ChatGenerationChunk, type ChatResult } from "@langchain/core/outputs";

export type Script = (messages: BaseMessage[]) => AIMessage;
type Bindable = { bindTools(tools: unknown[]): { invoke(messages: BaseMessage[]): Promise<AIMessage> } };

export async function chatModel(script: Script): Promise<Bindable> {
  const name = process.env.CHAT_MODEL;
  if (!name) return new ScriptedModel(script);
  const { initChatModel } = await import("langchain" as string); // npm install langchain, and the provider's package
  return initChatModel(name);
}

/** Answers what a function of the conversation gives, word by word. */
class ScriptedModel extends BaseChatModel {
  constructor(private readonly script: Script) {
    super({});
  }

  _llmType() {
    return "scripted";
  }

  override bindTools() {
    return this as never;
  }

  async _generate(messages: BaseMessage[]): Promise<ChatResult> {
    const message = this.script(messages);
    return { generations: [{ text: message.text, message }] };
  }

  override async *_streamResponseChunks(
    messages: BaseMessage[],
    _options: this["ParsedCallOptions"],
    run?: CallbackManagerForLLMRun,
  ): AsyncGenerator<ChatGenerationChunk> {
    const answer = this.script(messages);
    if (answer.tool_calls?.length) {
      yield new ChatGenerationChunk({ text: "", message: new AIMessageChunk({ content: "", tool_calls: answer.tool_calls }) });
      return;
    }
    for (const word of answer.text.split(" ")) {
      const chunk = new ChatGenerationChunk({ text: `${word} `, message: new AIMessageChunk({ content: `${word} ` }) });
      yield chunk;
      await run?.handleLLMNewToken(`${word} `, undefined, undefined, undefined, undefined, { chunk });
    }
  }
}
