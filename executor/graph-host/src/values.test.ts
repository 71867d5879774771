import assert from "node:assert/strict";
import { test } from "node:test";
import { excessiveLength, jsonText } from "./values.js";

const message = { content: "hi", toDict: () => ({ type: "human", data: { content: "hi", id: "1" } }) };

for (const [name, value, text] of [
  ["a message is its dictionary with its type", { messages: [message] }, '{"messages":[{"content":"hi","id":"1","type":"human"}]}'],
  ["a set is a list, a map an object", { a: new Set([1, 2]), b: new Map([["x", 1]]) }, '{"a":[1,2],"b":{"x":1}}'],
  ["bytes are base64", new Uint8Array([255, 0]), '"/wA="'],
  ["an error is its text", new TypeError("no"), '"TypeError: no"'],
  ["a date is ISO", new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ["integers of any size", { small: 5n, large: 2n ** 70n }, '{"small":5,"large":"1180591620717411303424"}'],
  ["numbers that JSON does not have are null", [NaN, Infinity], "[null,null]"],
  ["nothing is null", undefined, "null"],
  ["a function in a list is null", [() => 1], "[null]"],
  ["a lone surrogate becomes the replacement character", "a\ud800b", '"a\ufffdb"'],
  ["a pair of surrogates stays", "\u{1f600}", '"\u{1f600}"'],
] as const) {
  test(name, () => assert.equal(jsonText(value), text));
}

test("a cycle names the class that it comes back to", () => {
  class Node {
    self: unknown = this;
  }
  assert.equal(jsonText({ node: new Node() }), '{"node":{"self":"<Node>"}}');
});

test("what throws when it is read is named", () => {
  const value = {
    get bad(): never {
      throw new Error("no");
    },
  };
  assert.equal(jsonText([value]), '["<Object>"]');
});

test("what is too deep or too much is cut off", () => {
  let deep: unknown = 1;
  for (let n = 0; n < 20_000; n++) deep = [deep];
  assert.match(jsonText(deep), /<Array>/);
});

test("a list of billions of holes is named, and holds nothing up", () => {
  const list: number[] = [];
  list[4_000_000_000] = 1;
  assert.equal(jsonText({ list }), '{"list":"<Array>"}');
  assert.equal(excessiveLength({ inner: [{ list }] }), 4_000_000_001);
  assert.equal(excessiveLength({ inner: [{ list: [1, null] }], bytes: new Uint8Array(10) }), null);
});
