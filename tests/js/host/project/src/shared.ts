import { Annotation } from "@langchain/langgraph";

/** What most graphs here keep. */
export const State = Annotation.Root({
  text: Annotation<string>,
  seen: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
