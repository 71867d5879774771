import { initChatModel } from "langchain/chat_models/universal";

export async function loadChatModel(model: string) {
  return await initChatModel(model, { modelProvider: "openai" });
}
