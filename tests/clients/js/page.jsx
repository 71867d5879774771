// A chat page as users of the React hook write it. `?transport=sse|websocket&api=<url>`; the thread's id stands in the
// fragment, so that a reload goes on with the conversation.
import { useStream } from "@langchain/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);
const textOf = (message) => (typeof message.text === "string" ? message.text : String(message.content));

function Chat() {
  const [threadId, setThreadId] = useState(location.hash.slice(1) || null);
  const stream = useStream({
    assistantId: "assistant",
    apiUrl: query.get("api"),
    transport: query.get("transport"),
    threadId,
    onThreadId: (id) => {
      location.hash = id;
      setThreadId(id);
    },
  });
  const say = (event) => {
    event.preventDefault();
    const said = new FormData(event.target).get("said");
    event.target.reset();
    stream.submit({ messages: [{ type: "human", content: said }] });
  };
  return (
    <main>
      <output id="loading">{String(stream.isLoading)}</output>
      <output id="error">{stream.error ? String(stream.error) : ""}</output>
      <ol id="messages">
        {stream.messages.map((message, at) => (
          <li key={message.id ?? at} data-type={message.getType()}>
            {textOf(message)}
          </li>
        ))}
      </ol>
      <ul id="tool-calls">
        {stream.messages
          .flatMap((message) => message.tool_calls ?? [])
          .map((call) => (
            <li key={call.id}>{`${call.name} ${JSON.stringify(call.args)}`}</li>
          ))}
      </ul>
      <ul id="subgraphs">{[...stream.subgraphsByNode.keys()].map((node) => <li key={node}>{node}</li>)}</ul>
      {stream.interrupt && (
        <section id="interrupt">
          <p>{stream.interrupt.value.question}</p>
          <button id="yes" onClick={() => stream.respond("yes")}>Yes</button>
        </section>
      )}
      <form onSubmit={say}>
        <input name="said" />
        <button id="send">Send</button>
      </form>
      <button id="stop" onClick={() => stream.stop()}>Stop</button>
    </main>
  );
}

createRoot(document.getElementById("root")).render(<Chat />);
