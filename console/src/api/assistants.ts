// Assistants and the schemas of their graphs, as several pages choose them.
import { useLoad, type Loaded } from "./load";
import { ApiError, at, call } from "./client";
import type { Assistant } from "./types";
import type { Schema } from "../ui/schema";

export interface GraphSchemas {
  graph_id: string;
  input_schema: Schema | null;
  output_schema: Schema | null;
  state_schema: Schema | null;
  config_schema: Schema | null;
  context_schema?: Schema | null;
}

const MOST = 500;

export function useAssistants(): Loaded<Assistant[]> {
  return useLoad((signal) => call<Assistant[]>("/assistants/search", { body: { limit: MOST }, signal }), []);
}

export function useSchemas(assistant: string): Loaded<GraphSchemas | null> {
  return useLoad((signal) => (assistant ? call<GraphSchemas>(at`/assistants/${assistant}/schemas`, { signal }) : Promise.resolve(null)), [assistant]);
}

/** One line for a list: its name, and the graph where that is another. */
export const titleOf = (assistant: Assistant): string => (assistant.name === assistant.graph_id || assistant.name === "" ? assistant.graph_id : `${assistant.name} (${assistant.graph_id})`);

/** The server knows no such assistant, or does not show it to the caller. */
export const isUnknown = (error: Error | null): boolean => error instanceof ApiError && error.status === 404;

/** What to say where an assistant cannot be read. */
export const unknownOr = (error: Error, assistant: string): Error | string => (isUnknown(error) ? `There is no assistant ${assistant}. Choose one above.` : error);
