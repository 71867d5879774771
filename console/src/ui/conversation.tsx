// A conversation: messages with what they are made of. Of a long one the last messages are drawn, and earlier ones on demand.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Json } from "../api/types";
import { Badge, Button } from "./basic";
import { oneLine } from "./format";
import { JsonTree } from "./json";
import { Markdown, Plain } from "./markdown";
import type { Message, Part } from "./messages";

const SHOWN = 60;
const MORE = 200;
/** How near to the end a reader must be to be kept there when something is added. */
const NEAR_END_PX = 120;
const NAMES = { human: "Human", ai: "AI", tool: "Tool", system: "System", other: "Message" };

/** `streaming`: the last message is still being written. */
export function Conversation({ messages, streaming }: { messages: Message[]; streaming?: boolean }) {
  const [shown, setShown] = useState(SHOWN);
  const end = useRef<HTMLDivElement>(null);
  const first = Math.max(0, messages.length - shown);
  const last = messages.at(-1);
  const length = last === undefined ? 0 : JSON.stringify(last.raw).length;
  useEffect(() => {
    const box = end.current?.closest(".scroll");
    if (!box) return;
    if (box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX + (end.current?.previousElementSibling?.clientHeight ?? 0)) box.scrollTop = box.scrollHeight;
  }, [messages.length, length]);
  return (
    <div class="conversation" role="log" aria-label="Conversation">
      {first > 0 && (
        <Button small onClick={() => setShown(shown + MORE)}>
          Show {Math.min(MORE, first)} earlier of {first.toLocaleString("en")}
        </Button>
      )}
      {messages.slice(first).map((message, index) => (
        <One key={`${message.id} ${first + index}`} message={message} writing={streaming === true && first + index === messages.length - 1} />
      ))}
      <div ref={end} />
    </div>
  );
}

function One({ message, writing }: { message: Message; writing: boolean }) {
  const [raw, setRaw] = useState(false);
  return (
    <article class={`message ${message.role}`} aria-busy={writing}>
      <header>
        <strong>{NAMES[message.role]}</strong>
        {message.name && <span class="quiet clip mono">{oneLine(message.name, 80)}</span>}
        {message.failed && <Badge tone="bad">failed</Badge>}
        {message.tokens !== null && <span class="quiet number">{message.tokens.toLocaleString("en")} tokens</span>}
        <button type="button" class="button bare small push" aria-pressed={raw} onClick={() => setRaw(!raw)}>
          {raw ? "Text" : "JSON"}
        </button>
      </header>
      {raw ? <JsonTree value={message.raw} open={4} /> : message.parts.map((part, index) => <Shown key={index} part={part} role={message.role} />)}
      {!raw && message.parts.length === 0 && <span class="quiet">{writing ? "…" : "empty"}</span>}
    </article>
  );
}

function Shown({ part, role }: { part: Part; role: Message["role"] }) {
  switch (part.kind) {
    case "text":
      return role === "tool" ? <ToolText text={part.text} /> : <Markdown text={part.text} />;
    case "reasoning":
      return (
        <details class="reasoning">
          <summary>Reasoning</summary>
          <Plain text={part.text} />
        </details>
      );
    case "image":
      return <img class="picture" src={part.source} alt="Picture in the message" />;
    case "tool-call":
      return (
        <details class="tool-call" open>
          <summary>
            calls <strong class="mono">{oneLine(part.name, 120)}</strong>
          </summary>
          <JsonTree value={part.args} open={2} />
        </details>
      );
    case "other":
      return <JsonTree value={part.value} open={1} />;
  }
}

/** Tools' answers are often JSON. */
function ToolText({ text }: { text: string }) {
  const start = text.trimStart()[0];
  if ((start === "{" || start === "[") && text.length < 1_000_000) {
    try {
      return <JsonTree value={JSON.parse(text) as Json} open={2} />;
    } catch {
      // text that looks like JSON
    }
  }
  return <Plain text={text} />;
}
