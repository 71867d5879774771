import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json } from "../../api/types";
import { firstDecision, actionsOf, decisionsOf, questionOf, detailOf } from "./requests";

const HITL: Json = { action_requests: [{ name: "send", args: { to: "ada" }, description: "Send it?" }, { name: "pay", args: {} }], review_configs: [{ action_name: "send", allowed_decisions: ["approve", "reject"] }] };

test("a question is what the graph calls so, else the value", () => {
  assert.equal(questionOf("Go on?"), "Go on?");
  assert.equal(questionOf({ question: "May I?" }), "May I?");
  assert.equal(questionOf({ a: 1 }), '{"a":1}');
  assert.equal(questionOf(HITL), "Send it?\npay()");
});

test("the middleware's requests become decisions in order", () => {
  const actions = actionsOf(HITL);
  assert.deepEqual(actions.map((action) => [action.name, action.allowed]), [["send", ["approve", "reject"]], ["pay", ["approve", "edit", "reject"]]]);
  assert.deepEqual(decisionsOf(actions, [{ type: "reject", message: "no" }, { type: "edit", args: { sum: 1 } }]), { decisions: [{ type: "reject", message: "no" }, { type: "edit", edited_action: { name: "pay", args: { sum: 1 } } }] });
  assert.deepEqual(actionsOf({ action_requests: "x" }), []);
});

test("what is not allowed is not chosen at first", () => {
  const action = { name: "send", args: {}, description: "", allowed: ["reject"] };
  assert.deepEqual(firstDecision(action), { type: "reject", message: "" });
  assert.deepEqual(firstDecision({ ...action, allowed: ["edit", "reject"] }), { type: "edit", args: {} });
});

test("questions of the same words are told apart by what they are about", () => {
  assert.equal(detailOf(HITL, 200), 'send {"to":"ada"} pay {}');
  assert.equal(detailOf({ question: "May I?", call: { n: 1 } }, 200), '{"call":{"n":1}}');
  assert.equal(detailOf({ question: "May I?" }, 200), "");
  assert.equal(detailOf("May I?", 200), "");
});
