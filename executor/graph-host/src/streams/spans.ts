/**
 * Beginnings and ends of nodes, model calls and tools, for traces that the worker makes (`hosted_spans.py`).
 *
 *     [SPAN, id, parent | null, kind, name, step | null]   begins; `kind` null: something that has no span, but spans below it
 *     [SPAN, id, error | null]                             ends
 */
import { described } from "../errors.js";
import { type Emit, SPAN } from "./items.js";

/** The library's tag of a node's step. */
const STEP = "graph:step:";

/** Methods that the library's callback manager calls; parameters after the first are its positions. */
export function spanCallbacks(emit: Emit): Record<string, unknown> {
  const begin = (id: string, parent: string | undefined, kind: string | null, name: unknown, step: number | null = null): void =>
    emit([SPAN, id, parent ?? null, kind, String(name ?? kind ?? "").slice(0, 200).toWellFormed(), step]);
  const end = (id: string, error: unknown = null): void => emit([SPAN, id, error === null ? null : described(error).error]);
  const nameOf = (serialized: unknown, runName: unknown): unknown => runName ?? (serialized as { id?: unknown[] } | null)?.id?.at(-1);
  type Positions = [input: unknown, id: string, parent?: string, ...rest: unknown[]];
  return {
    name: "langlog_spans",
    awaitHandlers: true, // in order, at once
    handleChainStart(_: unknown, ...[, id, parent, tags, metadata, , runName]: Positions): void {
      const step = (tags as string[] | undefined)?.find((tag) => tag.startsWith(STEP));
      const node = (metadata as Record<string, unknown> | undefined)?.["langgraph_node"] ?? runName;
      if (step === undefined || node === "__start__") begin(id, parent, null, "");
      else begin(id, parent, "node", node, Number(step.slice(STEP.length)));
    },
    handleChainEnd: (_: unknown, id: string) => end(id),
    handleChainError: (error: unknown, id: string) => end(id, error),
    handleChatModelStart: (model: unknown, ...[, id, parent, , , , runName]: Positions) => begin(id, parent, "model", nameOf(model, runName)),
    handleLLMStart: (model: unknown, ...[, id, parent, , , , runName]: Positions) => begin(id, parent, "model", nameOf(model, runName)),
    handleLLMEnd: (_: unknown, id: string) => end(id),
    handleLLMError: (error: unknown, id: string) => end(id, error),
    handleToolStart: (tool: unknown, ...[, id, parent, , , runName]: Positions) => begin(id, parent, "tool", nameOf(tool, runName)),
    handleToolEnd: (_: unknown, id: string) => end(id),
    handleToolError: (error: unknown, id: string) => end(id, error),
  };
}
