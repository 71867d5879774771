// A page that renders the components of a graph, as users of the official client write it. `?api=<url>&assistant=<id>`.
import { useStream } from "@langchain/langgraph-sdk/react";
import { LoadExternalComponent } from "@langchain/langgraph-sdk/react-ui";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);
const caller = query.get("caller");

function Page() {
  const stream = useStream({
    assistantId: query.get("assistant"),
    apiUrl: query.get("api"),
    defaultHeaders: caller === null ? {} : { authorization: `Bearer ${caller}` },
  });
  return (
    <main>
      <output id="error">{stream.error ? String(stream.error) : ""}</output>
      <button type="button" id="ask" onClick={() => stream.submit({ messages: [{ type: "human", content: "Rome" }] })}>
        Rome
      </button>
      {stream.values.ui?.map((each) => (
        <LoadExternalComponent key={each.id} stream={stream} message={each} namespace={query.get("namespace") ?? undefined} className="shown" />
      ))}
    </main>
  );
}

createRoot(document.getElementById("root")).render(<Page />);
