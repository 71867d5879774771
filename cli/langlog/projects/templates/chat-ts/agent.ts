// An agent that gives refunds, each only after a human has approved it.
import { AIMessage, type BaseMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { Command, END, interrupt, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { z } from "zod";
import { chatModel } from "./model.js";

type State = typeof MessagesAnnotation.State;

const prompt = new SystemMessage("You help customers of a shop. Refund an order when a customer wants that.");

const refund = tool(
  ({ order, amount }) => `Refunded ${amount.toFixed(2)} for order ${order}.`, // put the call of your shop here
  {
    name: "refund",
    description: "Pay the amount of an order back to the customer.",
    schema: z.object({ order: z.string(), amount: z.number() }),
  },
);

/** What the agent says without a model. */
function script(messages: BaseMessage[]): AIMessage {
  const last = messages[messages.length - 1];
  if (ToolMessage.isInstance(last)) return new AIMessage(last.text);
  const [, order, amount] = /refund (\S+) (\d+(?:\.\d+)?)/.exec(last.text) ?? [];
  if (order === undefined) return new AIMessage("Say 'refund ORDER AMOUNT', and I will see to it.");
  const args = { order, amount: Number(amount) };
  return new AIMessage({ content: "", tool_calls: [{ name: "refund", args, id: `refund-${messages.length}`, type: "tool_call" }] });
}

const model = (await chatModel(script)).bindTools([refund]);

async function talk(state: State) {
  const answer: AIMessage = await model.invoke([prompt, ...state.messages]);
  return new Command({ goto: answer.tool_calls?.length ? "approve" : END, update: { messages: [answer] } });
}

/** Stops the run until somebody resumes it: with "yes", or with a reason against it. */
function approve(state: State) {
  const calls = (state.messages[state.messages.length - 1] as AIMessage).tool_calls ?? [];
  const decision = interrupt({ question: "Give this refund?", calls: calls.map(({ name, args }) => ({ name, args })) });
  if (decision === "yes" || decision === true) return new Command({ goto: "tools" });
  const refused = calls.map(({ name, id }) => new ToolMessage({ content: `Refused: ${decision}`, name, tool_call_id: id ?? "" }));
  return new Command({ goto: "talk", update: { messages: refused } });
}

export const graph = new StateGraph(MessagesAnnotation)
  .addNode("talk", talk, { ends: ["approve", END] })
  .addNode("approve", approve, { ends: ["tools", "talk"] })
  .addNode("tools", new ToolNode([refund]))
  .addEdge(START, "talk")
  .addEdge("tools", "talk")
  .compile();
