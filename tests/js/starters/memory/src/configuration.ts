import { Annotation, type LangGraphRunnableConfig } from "@langchain/langgraph";

export const ConfigurationAnnotation = Annotation.Root({
  userId: Annotation<string>(),
  model: Annotation<string>(),
  systemPrompt: Annotation<string>(),
});

export type Configuration = typeof ConfigurationAnnotation.State;

export function ensureConfiguration(config?: LangGraphRunnableConfig): Configuration {
  const configurable = config?.configurable ?? {};
  return {
    userId: configurable.userId ?? "default",
    model: configurable.model ?? "openai/gpt-4.1-mini",
    systemPrompt: configurable.systemPrompt ?? "You remember what people tell you. {user_info}",
  };
}
