import { randomUUID } from "node:crypto";
import { type DocumentInterface } from "@langchain/core/documents";
import type { BaseMessage } from "@langchain/core/messages";
import { Annotation, messagesStateReducer } from "@langchain/langgraph";

type Given = DocumentInterface[] | string[] | string | "delete";

/** Documents as people give them: texts, or objects; "delete" leaves none. */
export function reduceDocs(existing: DocumentInterface[], given: Given): DocumentInterface[] {
  if (given === "delete") return [];
  const all = Array.isArray(given) ? given : [given];
  return all.map((each) => {
    const document = typeof each === "string" ? { pageContent: each, metadata: {} as Record<string, unknown> } : each;
    return { ...document, metadata: { id: randomUUID(), ...document.metadata } };
  });
}

export const IndexStateAnnotation = Annotation.Root({
  docs: Annotation<DocumentInterface[], Given>({ reducer: reduceDocs, default: () => [] }),
});

export const InputStateAnnotation = Annotation.Root({ messages: Annotation<BaseMessage[]> });

export const StateAnnotation = Annotation.Root({
  messages: Annotation<BaseMessage[]>({ reducer: messagesStateReducer, default: () => [] }),
  queries: Annotation<string[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
  retrievedDocs: Annotation<DocumentInterface[]>,
});
