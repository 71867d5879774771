/**
 * JSON Schemas of a graph's input, output, state and context, from what the graph declares: `StateSchema`, Zod (registered or not), or its
 * channels, of which only the names are known. Types of TypeScript are gone when a graph runs.
 */
import type { Opened } from "./graphs.js";
import { type Json, optionalModule } from "./library.js";

export interface Schemas {
  input_schema: Json;
  output_schema: Json;
  state_schema: Json;
  config_schema: Json;
  context_schema: Json;
}

/** Input is the state, with nothing required. */
const PARTIAL_STATE = Symbol.for("langgraph.state.partial");
/** Channels of the library's own. */
const INTERNAL = /^(__|branch:|join:|start:|branch$)/;

export async function schemasOf(opened: Opened): Promise<Schemas> {
  const declared = (await byStateSchema(opened)) ?? (await byRegistry(opened)) ?? (await byZod(opened)) ?? {};
  const state = declared.state ?? byChannels(opened, "state");
  const context = declared.config ?? null;
  return {
    input_schema: declared.input ?? byChannels(opened, "input"),
    output_schema: declared.output ?? declared.state ?? byChannels(opened, "output"),
    state_schema: state,
    config_schema: context ?? {},
    context_schema: context,
  };
}

interface Declared {
  state?: Json;
  input?: Json;
  output?: Json;
  config?: Json;
}

function isStateSchema(value: Json): boolean {
  return typeof value === "object" && value !== null && typeof value.getJsonSchema === "function" && typeof value.getInputJsonSchema === "function";
}

async function byStateSchema({ graph }: Opened): Promise<Declared | null> {
  const { _schemaRuntimeDefinition: state, _inputRuntimeDefinition: input, _outputRuntimeDefinition: output } = graph.builder ?? {};
  if (![state, input, output].some(isStateSchema)) return null;
  const partial = input === PARTIAL_STATE ? state : input;
  return {
    state: isStateSchema(state) ? state.getJsonSchema() : undefined,
    input: isStateSchema(partial) ? partial.getInputJsonSchema() : undefined,
    output: isStateSchema(output) ? output.getJsonSchema() : undefined,
  };
}

async function byRegistry({ graph, file }: Opened): Promise<Declared | null> {
  const zod = await optionalModule(file, "@langchain/langgraph/zod/schema");
  if (zod === undefined) return null;
  try {
    const found: Declared = {
      state: zod.getUpdateTypeSchema(graph),
      input: zod.getInputTypeSchema(graph),
      output: zod.getOutputTypeSchema(graph),
      config: zod.getConfigTypeSchema(graph),
    };
    return Object.values(found).every((each) => each == null) ? null : found;
  } catch {
    return null;
  }
}

async function byZod({ graph, file }: Opened): Promise<Declared | null> {
  const [schemas, types] = await Promise.all([
    optionalModule(file, "@langchain/core/utils/json_schema"),
    optionalModule(file, "@langchain/core/utils/types"),
  ]);
  if (schemas?.toJsonSchema === undefined || types === undefined) return null;
  const schema = (value: unknown): Json => {
    try {
      const isZod = types.isZodSchemaV4?.(value) || types.isZodSchemaV3?.(value);
      return value !== undefined && isZod ? schemas.toJsonSchema(value) : undefined;
    } catch {
      return undefined; // a type that JSON Schema has no form for
    }
  };
  const builder = graph.builder ?? {};
  const state = schema(builder._schemaRuntimeDefinition);
  const found: Declared = {
    state,
    input: schema(builder._inputRuntimeDefinition) ?? (state === undefined ? undefined : { ...state, required: undefined }),
    output: schema(builder._outputRuntimeDefinition),
    config: schema(builder._configRuntimeSchema),
  };
  return Object.values(found).every((each) => each === undefined) ? null : found;
}

function byChannels({ graph }: Opened, kind: "input" | "output" | "state"): Json {
  const names = channelNames(graph, kind);
  if (names === null) return null;
  return { type: "object", title: `${graph.name ?? "graph"}_${kind}`, properties: Object.fromEntries(names.map((name) => [name, {}])) };
}

function channelNames(graph: Json, kind: "input" | "output" | "state"): string[] | null {
  const builder = graph.builder;
  const definition = kind === "input" ? builder?._inputDefinition : kind === "output" ? builder?._outputDefinition : builder?._schemaDefinition;
  const declared = typeof definition === "object" && definition !== null ? Object.keys(definition) : null;
  const names = declared ?? (Array.isArray(graph.streamChannels) ? graph.streamChannels : null);
  return names === null ? null : names.filter((name: string) => !INTERNAL.test(name));
}
