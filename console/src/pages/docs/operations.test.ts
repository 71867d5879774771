import assert from "node:assert/strict";
import { test } from "node:test";
import { curlOf, fieldsOf, filled, grouped, operationsOf, repeated, typeOf, type Document } from "./operations";

const DOCUMENT: Document = {
  paths: {
    "/threads/{thread_id}": {
      get: { operationId: "get_thread", tags: ["threads"], summary: "Get thread", parameters: [{ name: "thread_id", in: "path", required: true, schema: { type: "string" } }, { name: "include", in: "query", required: false, schema: { type: "array", items: { type: "string" } } }], responses: { "200": { description: "OK", content: { "application/json": { example: { a: 1 } } } } } },
      post: { tags: ["threads"], requestBody: { required: true, content: { "application/json": { schema: { $ref: "#/components/schemas/Body" }, example: {} } } } },
    },
  },
  components: { schemas: { Body: { type: "object", required: ["a"], properties: { a: { type: "integer", description: "A" }, b: { anyOf: [{ type: "string" }, { type: "null" }] } } } } },
};

test("operations with their parameters, bodies and examples", () => {
  const [get, post] = operationsOf(DOCUMENT);
  assert.deepEqual([get?.method, get?.summary, get?.responses[0]?.example], ["GET", "Get thread", { a: 1 }]);
  assert.deepEqual(post?.body && fieldsOf(post.body.schema, DOCUMENT.components?.schemas ?? {}), [{ name: "a", type: "integer", required: true, about: "A" }, { name: "b", type: "string | null", required: false, about: "" }]);
});

test("words find operations by method, path and summary", () => {
  assert.deepEqual(grouped(operationsOf(DOCUMENT), "get thread").map(([tag, of]) => [tag, of.length]), [["threads", 1]]);
  assert.deepEqual(grouped(operationsOf(DOCUMENT), "nothing"), []);
});

test("a request is filled in, and cannot leave its path", () => {
  const [get] = operationsOf(DOCUMENT);
  if (!get) throw new Error("no operation");
  assert.deepEqual(filled(get, { "path thread_id": "../x", "query include": "a, b" }), { path: "/threads/..%2Fx", query: { include: ["a", "b"] }, headers: {} });
  assert.throws(() => filled(get, {}), /thread_id is missing/);
});

test("a shell gets the same request", () => assert.equal(curlOf("http://h", "POST", "/a", { q: ["1", "2"] }, {}, "it's"), "curl -X POST 'http://h/a?q=1&q=2' -H 'content-type: application/json' -d 'it'\\''s'"));

test("types stay short", () => assert.equal(typeOf({ type: "array", items: { $ref: "#/components/schemas/Body" } }, {}), "Body[]"));

test("groups come in a newcomer's order, and alike summaries are told apart", () => {
  const operation = (tag: string) => ({ get: { tags: [tag], summary: `Of ${tag}` }, post: { tags: [tag], summary: `Of ${tag}` } });
  const found = operationsOf({ paths: { "/ok": operation("system"), "/mine": operation("custom"), "/threads": operation("threads") } });
  assert.deepEqual(grouped(found, "").map(([tag]) => tag), ["threads", "custom", "system"]);
  assert.deepEqual([...repeated(found)], ["Of system", "Of custom", "Of threads"]);
  assert.deepEqual([...repeated(found.slice(0, 1))], []);
});
