import { useStreamContext } from "@langchain/langgraph-sdk/react-ui";
import { useState } from "react";
import "./ui.css";

function Weather({ city }: { city: string }) {
  const [days, setDays] = useState(1);
  const { submit } = useStreamContext();
  return (
    <section id="weather" className="weather">
      <h2>Sun in {city}</h2>
      <output>{days} days</output>
      <button type="button" onClick={() => setDays(days + 1)}>
        more
      </button>
      <button type="button" name="again" onClick={() => submit({ messages: [{ type: "human", content: "Oslo" }] })}>
        Oslo
      </button>
    </section>
  );
}

export default { weather: Weather };
