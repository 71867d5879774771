// A factory: the graph it builds depends on the assistant's configurable values.
import { Annotation, END, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";

const State = Annotation.Root({
  text: Annotation<string>,
  styled: Annotation<string>,
  seen: Annotation<Record<string, string>>,
});
const Configuration = Annotation.Root({ style: Annotation<string>, suffix: Annotation<string> });

const seen = (configurable: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(configurable).filter(([key, value]) => typeof value === "string" && !key.startsWith("__")));

export function makeGraph(config: LangGraphRunnableConfig) {
  const name = config.configurable?.style === "loud" ? "loud" : "plain";
  const speak = (state: typeof State.State, config: LangGraphRunnableConfig) => {
    const configurable = config.configurable ?? {};
    const text = name === "loud" ? `${(state.text ?? "").toUpperCase()}!` : (state.text ?? "");
    return { styled: text + (configurable.suffix ?? ""), seen: seen(configurable) };
  };
  return new StateGraph(State, Configuration).addNode(name, speak).addEdge(START, name).addEdge(name, END).compile();
}
