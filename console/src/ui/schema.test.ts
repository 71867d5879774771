import assert from "node:assert/strict";
import { test } from "node:test";
import { controlOf, faults, initial, parsed, type Schema } from "./schema";

const of = (schema: Schema) => controlOf(schema, schema);

test("an object becomes fields, with what is required", () => {
  const schema = { type: "object", required: ["name"], properties: { name: { type: "string", title: "Name" }, age: { type: ["integer", "null"], minimum: 0 }, ok: { type: "boolean" }, kind: { enum: ["a", "b"] } } };
  const control = of(schema);
  assert.equal(control.kind, "object");
  if (control.kind !== "object") return;
  assert.deepEqual(control.fields.map((field) => [field.name, field.title, field.required, field.control.kind]), [["name", "Name", true, "text"], ["age", "age", false, "number"], ["ok", "ok", false, "flag"], ["kind", "kind", false, "choice"]]);
  assert.deepEqual(initial(control), { name: "" });
  assert.deepEqual(faults(control, { age: -1 }), [{ path: "name", text: "is missing" }, { path: "age", text: "must be at least 0" }]);
});

test("references are followed, also in circles, which end as JSON", () => {
  const circle: Schema = { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } };
  assert.equal(of(circle).kind, "json");
  const tree: Schema = { $ref: "#/$defs/node", $defs: { node: { type: "object", properties: { left: { $ref: "#/$defs/node" } } } } };
  assert.equal(of(tree).kind, "object");
  assert.equal(of({ $ref: "https://elsewhere/schema" }).kind, "json");
});

test("one of several is a choice of forms, and nothing or something is the something", () => {
  assert.equal(of({ anyOf: [{ type: "string" }, { type: "null" }] }).kind, "text");
  const control = of({ oneOf: [{ title: "Approve", properties: { type: { const: "approve" } } }, { title: "Reject", properties: { type: { const: "reject" }, why: { type: "string" } } }] });
  assert.equal(control.kind === "variants" && control.variants.map((one) => one.title).join(), "Approve,Reject");
});

test("what is too large or not understood is edited as JSON", () => {
  assert.equal(of({ type: "object", properties: Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`p${n}`, {}])) }).kind, "json");
  assert.equal(of({ type: "tuple" }).kind, "json");
  assert.equal(controlOf(true, {}).kind, "json");
  assert.equal(controlOf(undefined, {}).kind, "json");
});

test("a list of texts is a list, and its entries are checked", () => {
  const control = of({ type: "array", items: { type: "string" } });
  assert.deepEqual(faults(control, ["a", 1]), [{ path: "[1]", text: "must be text" }]);
});

test("bad JSON says so", () => assert.throws(() => parsed("{"), /not JSON/));

test("a schema that refers to itself, from each of its fields or from nothing else, makes a form of bounded size", () => {
  const wide: Schema = { type: "object", properties: Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`f${n}`, { $ref: "#" }])) };
  const began = performance.now();
  assert.equal(controlOf(wide, wide).kind, "object");
  assert.ok(performance.now() - began < 1_000);
  for (const loop of [{ allOf: [{ $ref: "#" }] }, { anyOf: [{ $ref: "#" }, { type: "null" }] }, { type: "array", items: { $ref: "#" } }, { $ref: "#" }] as Schema[]) assert.equal(controlOf(loop, loop).kind, "json");
});

test("a field may have the name of what every object has", () => {
  const schema: Schema = { type: "object", properties: { constructor: { type: "string" }, toString: { type: "string" } }, required: ["constructor"] };
  const control = controlOf(schema, schema);
  assert.deepEqual(faults(control, {}), [{ path: "constructor", text: "is missing" }]);
  assert.deepEqual(controlOf({ $ref: "#/constructor" }, {}), { kind: "json" });
});
