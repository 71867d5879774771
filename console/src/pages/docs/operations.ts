// The operations of an OpenAPI document, and requests made of them. Pure.
import type { Json } from "../../api/types";
import type { Schema } from "../../ui/schema";

export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required: boolean;
  description: string;
  schema: Schema;
  example?: Json;
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  tag: string;
  summary: string;
  description: string;
  parameters: Parameter[];
  body: { schema: Schema; example: Json | undefined; required: boolean } | null;
  responses: { status: string; description: string; media: string; example: Json | undefined }[];
}

export interface Document {
  info?: { title?: string; version?: string };
  paths?: Record<string, Record<string, Json>>;
  components?: { schemas?: Record<string, Schema> };
}

const METHODS = ["get", "post", "put", "patch", "delete"];
const isObject = (value: Json | undefined): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: Json | undefined): string => (typeof value === "string" ? value : "");

export function operationsOf(document: Document): Operation[] {
  const found: Operation[] = [];
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS) {
      const operation = methods[method];
      if (!isObject(operation)) continue;
      const content = isObject(operation["requestBody"]) && isObject(operation["requestBody"]["content"]) ? operation["requestBody"]["content"]["application/json"] : undefined;
      const parameters = Array.isArray(operation["parameters"]) ? operation["parameters"].filter(isObject) : [];
      found.push({
        id: text(operation["operationId"]) || `${method} ${path}`,
        method: method.toUpperCase(),
        path,
        tag: Array.isArray(operation["tags"]) ? text(operation["tags"][0]) || "other" : "other",
        summary: text(operation["summary"]) || `${method} ${path}`,
        description: text(operation["description"]),
        parameters: parameters.map((one) => ({ name: text(one["name"]), in: text(one["in"]) as Parameter["in"], required: one["required"] === true, description: text(one["description"]), schema: isObject(one["schema"]) ? one["schema"] : {}, ...("example" in one ? { example: one["example"] as Json } : {}) })),
        body: isObject(content) ? { schema: isObject(content["schema"]) ? content["schema"] : {}, example: content["example"], required: isObject(operation["requestBody"]) && operation["requestBody"]["required"] === true } : null,
        responses: Object.entries(isObject(operation["responses"]) ? operation["responses"] : {}).map(([status, response]) => {
          const contents = isObject(response) && isObject(response["content"]) ? Object.entries(response["content"]) : [];
          const [media, first] = contents[0] ?? ["", undefined];
          return { status, description: isObject(response) ? text(response["description"]) : "", media, example: isObject(first) ? first["example"] : undefined };
        }),
      });
    }
  }
  return found;
}

/** Groups of what contains every word. */
export function grouped(operations: Operation[], words: string): [string, Operation[]][] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map<string, Operation[]>();
  for (const operation of operations) {
    const haystack = `${operation.method} ${operation.path} ${operation.summary} ${operation.tag}`.toLowerCase();
    if (!wanted.every((word) => haystack.includes(word))) continue;
    const group = groups.get(operation.tag);
    if (group) group.push(operation);
    else groups.set(operation.tag, [operation]);
  }
  const place = (tag: string): number => (FIRST.includes(tag) ? FIRST.indexOf(tag) : LAST.includes(tag) ? 200 + LAST.indexOf(tag) : 100);
  return [...groups].sort((a, b) => place(a[0]) - place(b[0]));
}

/** Groups in the order that a newcomer needs them; those that are named here neither first nor last keep the document's order between. */
const FIRST = ["assistants", "threads", "runs", "interrupts", "store", "changes"];
const LAST = ["operator", "mcp", "a2a", "system"];

/** Summaries that a group has more than once: the list shows the path beside those. */
export function repeated(operations: Operation[]): Set<string> {
  const seen = new Set<string>();
  return new Set(operations.map((one) => one.summary).filter((summary) => seen.size === seen.add(summary).size));
}

export interface FieldRow {
  name: string;
  type: string;
  required: boolean;
  about: string;
}

/** The members of a body: one level, as a table shows them. */
export function fieldsOf(schema: Schema, components: Record<string, Schema>, most = 80): FieldRow[] {
  const found = follow(schema, components);
  const items = found["type"] === "array" && isObject(found["items"]) ? follow(found["items"], components) : found;
  const properties = isObject(items["properties"]) ? items["properties"] : {};
  const required = Array.isArray(items["required"]) ? items["required"] : [];
  return Object.entries(properties).slice(0, most).map(([name, value]) => {
    const inner = isObject(value) ? value : {};
    return { name, type: typeOf(inner, components), required: required.includes(name), about: text(inner["description"]) || text(follow(inner, components)["description"]) };
  });
}

function follow(schema: Schema, components: Record<string, Schema>): Schema {
  let found = schema;
  for (let n = 0; n < 8 && typeof found["$ref"] === "string"; n++) found = components[found["$ref"].split("/").at(-1) ?? ""] ?? {};
  return found;
}

export function typeOf(schema: Schema, components: Record<string, Schema>, depth = 0): string {
  if (depth > 3) return "…";
  if (typeof schema["$ref"] === "string") return schema["$ref"].split("/").at(-1) ?? "object";
  if (Array.isArray(schema["enum"])) return schema["enum"].slice(0, 8).map((one) => JSON.stringify(one)).join(" | ");
  const several = schema["anyOf"] ?? schema["oneOf"];
  if (Array.isArray(several)) return several.slice(0, 6).map((one) => (isObject(one) ? typeOf(one, components, depth + 1) : "any")).join(" | ");
  if (schema["type"] === "array") return isObject(schema["items"]) ? `${typeOf(schema["items"], components, depth + 1)}[]` : "array";
  if (Array.isArray(schema["type"])) return schema["type"].join(" | ");
  return typeof schema["type"] === "string" ? schema["type"] : "any";
}

/** The path of a request with its parameters filled in. Throws for a path parameter without a value. */
export function filled(operation: Operation, values: Record<string, string>): { path: string; query: Record<string, string | string[]>; headers: Record<string, string> } {
  const query: Record<string, string | string[]> = {};
  const headers: Record<string, string> = {};
  let path = operation.path;
  for (const parameter of operation.parameters) {
    const value = values[`${parameter.in} ${parameter.name}`]?.trim() ?? "";
    if (parameter.in === "path") {
      if (value === "") throw new Error(`${parameter.name} is missing`);
      path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    } else if (value !== "") {
      if (parameter.in === "header") headers[parameter.name] = value;
      else query[parameter.name] = parameter.schema["type"] === "array" ? value.split(",").map((one) => one.trim()).filter(Boolean) : value;
    }
  }
  return { path, query, headers };
}

/** The same request for a shell. */
export function curlOf(origin: string, method: string, path: string, query: Record<string, string | string[]>, headers: Record<string, string>, body: string | null): string {
  const quoted = (value: string): string => `'${value.replaceAll("'", "'\\''")}'`;
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) for (const one of Array.isArray(value) ? value : [value]) search.append(name, one);
  const address = `${origin}${path}${search.size > 0 ? `?${search}` : ""}`;
  const words = ["curl", ...(method === "GET" ? [] : ["-X", method]), quoted(address)];
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (body !== null) words.push("-H", quoted("content-type: application/json"), "-d", quoted(body));
  return words.join(" ");
}
