// JSON Schema as far as forms need it: which control a value gets, what it begins with, and what is wrong with it. Pure.
//
// Schemas come from graphs and models: they may be huge, wrong or refer to themselves. Whatever is not understood is edited as JSON.
import type { Json } from "../api/types";

export type Schema = { [name: string]: Json };

export interface Field {
  name: string;
  title: string;
  about: string;
  required: boolean;
  control: Control;
}

export type Control =
  | { kind: "text"; long: boolean }
  | { kind: "number"; whole: boolean; min?: number; max?: number }
  | { kind: "flag" }
  | { kind: "choice"; values: Json[] }
  | { kind: "constant"; value: Json }
  | { kind: "object"; fields: Field[]; open: boolean }
  | { kind: "list"; of: Control }
  | { kind: "variants"; variants: { title: string; control: Control }[] }
  | { kind: "json" };

const DEPTH_MOST = 5;
const FIELDS_MOST = 60;
const VARIANTS_MOST = 12;
const VALUES_MOST = 200;
/** Controls of one form: a schema that refers to itself from many of its fields would otherwise have billions. */
const CONTROLS_MOST = 300;
/** Schemas that one value leads through: `$ref`, `allOf` and optional ones. */
const STEPS_MOST = 10;

const isObject = (value: Json | undefined): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);

/** A member of the value's own: names such as `constructor` are names like any other. */
export const member = (value: Schema, name: string): Json | undefined => (Object.hasOwn(value, name) ? value[name] : undefined);

/** The control of a schema. `root` holds what `$ref` refers to. */
export function controlOf(schema: Json | undefined, root: Schema): Control {
  return made(schema, root, 0, { left: CONTROLS_MOST });
}

function made(schema: Json | undefined, root: Schema, depth: number, budget: { left: number }): Control {
  const found = resolved(schema, root);
  if (found === null || depth > DEPTH_MOST || budget.left <= 0) return { kind: "json" };
  budget.left -= 1;
  if ("const" in found) return { kind: "constant", value: found["const"] as Json };
  const values = found["enum"];
  if (Array.isArray(values) && values.length > 0 && values.length <= VALUES_MOST) return { kind: "choice", values };
  const several = found["oneOf"] ?? found["anyOf"];
  if (Array.isArray(several)) {
    const real = several.filter((one) => resolved(one, root)?.["type"] !== "null");
    if (real.length === 1 && several.length <= 2) return made(real[0], root, depth + 1, budget);
    if (several.length > VARIANTS_MOST) return { kind: "json" };
    return { kind: "variants", variants: several.map((one, index) => ({ title: titleOf(resolved(one, root), `${index + 1}`), control: made(one, root, depth + 1, budget) })) };
  }
  const type = Array.isArray(found["type"]) ? found["type"].filter((one) => one !== "null")[0] : found["type"];
  switch (type) {
    case "string":
      return { kind: "text", long: found["format"] === "multiline" || Number(found["maxLength"] ?? 0) > 120 };
    case "integer":
    case "number":
      return { kind: "number", whole: type === "integer", ...(typeof found["minimum"] === "number" ? { min: found["minimum"] } : {}), ...(typeof found["maximum"] === "number" ? { max: found["maximum"] } : {}) };
    case "boolean":
      return { kind: "flag" };
    case "array": {
      const of = made(found["items"], root, depth + 1, budget);
      return of.kind === "json" ? { kind: "json" } : { kind: "list", of };
    }
    case "object":
    case undefined: {
      const properties = found["properties"];
      if (!isObject(properties)) return { kind: "json" };
      const required = Array.isArray(found["required"]) ? found["required"] : [];
      // the database keeps no order of members, but that of lists: what is required comes first, in its order
      const names = [...new Set([...required.filter((name): name is string => typeof name === "string" && Object.hasOwn(properties, name)), ...Object.keys(properties)])];
      if (names.length === 0 || names.length > FIELDS_MOST) return { kind: "json" };
      const fields = names.map((name) => {
        const inner = resolved(properties[name], root);
        return { name, title: titleOf(inner, name), about: typeof inner?.["description"] === "string" ? inner["description"].slice(0, 500) : "", required: required.includes(name), control: made(properties[name], root, depth + 1, budget) };
      });
      return { kind: "object", fields, open: found["additionalProperties"] !== false };
    }
    default:
      return { kind: "json" };
  }
}

function titleOf(schema: Schema | null, otherwise: string): string {
  return typeof schema?.["title"] === "string" && schema["title"] !== "" ? schema["title"].slice(0, 120) : otherwise;
}

/** The schema behind `$ref`s into the same document; null for what leads nowhere. */
function resolved(schema: Json | undefined, root: Schema): Schema | null {
  let found = schema;
  for (let n = 0; n < STEPS_MOST; n++) {
    if (!isObject(found)) return null;
    const reference = found["$ref"];
    if (typeof reference !== "string") {
      if (!Array.isArray(found["allOf"]) || found["allOf"].length !== 1 || "type" in found) return found;
      found = found["allOf"][0];
      continue;
    }
    if (!reference.startsWith("#/")) return null;
    let target: Json | undefined = root;
    for (const step of reference.slice(2).split("/")) target = isObject(target) ? member(target, step.replaceAll("~1", "/").replaceAll("~0", "~")) : undefined;
    found = target;
  }
  return null;
}

/** Initial value of a form. */
export function initial(control: Control, schema?: Json): Json {
  if (isObject(schema) && "default" in schema) return schema["default"] as Json;
  switch (control.kind) {
    case "text":
      return "";
    case "number":
      return null;
    case "flag":
      return false;
    case "choice":
      return control.values[0] ?? null;
    case "constant":
      return control.value;
    case "list":
      return [];
    case "object":
      return Object.fromEntries(control.fields.filter((field) => field.required).map((field) => [field.name, initial(field.control)]));
    case "variants":
      return control.variants[0] === undefined ? null : initial(control.variants[0].control);
    case "json":
      return null;
  }
}

/** Errors of a value by path; empty if the form finds none. The server validates it in any case. */
export function faults(control: Control, value: Json | undefined, path = ""): { path: string; text: string }[] {
  switch (control.kind) {
    case "text":
      return typeof value === "string" ? [] : [{ path, text: "must be text" }];
    case "number":
      if (typeof value !== "number" || Number.isNaN(value)) return [{ path, text: "must be a number" }];
      if (control.whole && !Number.isInteger(value)) return [{ path, text: "must be a whole number" }];
      if (control.min !== undefined && value < control.min) return [{ path, text: `must be at least ${control.min}` }];
      if (control.max !== undefined && value > control.max) return [{ path, text: `must be at most ${control.max}` }];
      return [];
    case "list":
      return Array.isArray(value) ? value.flatMap((one, index) => faults(control.of, one, `${path}[${index}]`)) : [{ path, text: "must be a list" }];
    case "object": {
      if (!isObject(value)) return [{ path, text: "must be an object" }];
      return control.fields.flatMap((field) => {
        const at = path === "" ? field.name : `${path}.${field.name}`;
        if (!Object.hasOwn(value, field.name)) return field.required ? [{ path: at, text: "is missing" }] : [];
        return faults(field.control, value[field.name], at);
      });
    }
    default:
      return [];
  }
}

/** JSON of a text field. Throws with what is wrong, in words. */
export function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new Error(`This is not JSON: ${(error as Error).message}`);
  }
}
