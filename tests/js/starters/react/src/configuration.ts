import { Annotation } from "@langchain/langgraph";
import type { RunnableConfig } from "@langchain/core/runnables";

export const ConfigurationSchema = Annotation.Root({
  /** What the agent is told first; `{system_time}` becomes the present time. */
  systemPromptTemplate: Annotation<string>,
  /** Name of the model, without its provider. */
  model: Annotation<string>,
});

export function ensureConfiguration(config: RunnableConfig): typeof ConfigurationSchema.State {
  const configurable = config.configurable ?? {};
  return {
    systemPromptTemplate: configurable.systemPromptTemplate ?? "You are a helpful assistant. It is {system_time}.",
    model: configurable.model ?? "gpt-4.1-mini",
  };
}
