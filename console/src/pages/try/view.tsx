// A form or a chat for any assistant, on a new thread or one that is there, with the events of any stream mode beside it.
import { useEffect, useRef, useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery, to } from "../../app/router";
import { isUnknown, titleOf, unknownOr, useAssistants, useSchemas } from "../../api/assistants";
import { ApiError, at, call, credentials, follow } from "../../api/client";
import type { Json, Run, Thread } from "../../api/types";
import { ActionButton, Badge, Button, Failure, Id, Loading, Nothing, PageHead, Status } from "../../ui/basic";
import { Conversation } from "../../ui/conversation";
import { JsonTree } from "../../ui/json";
import { conversationOf, isFields, messageOf as shownMessage } from "../../ui/messages";
import { controlOf, initial } from "../../ui/schema";
import { JsonField, SchemaForm } from "../../ui/schema-form";
import { Tabs } from "../../ui/tabs";
import { toast } from "../../ui/toast";
import { withWriting } from "../thread/live";
import { useThread } from "../thread/data";
import { ATTACHED_MOST, isText, messageOf, talks, withLast, type Attachment } from "./input";

const MODES = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "debug", "events"];
const DEFAULT_MODES = "values,updates";
/** Events of messages while they are written: the page asks for them always, for the conversation. */
const isWriting = (event: string): boolean => /^messages(\||\/|$)/.test(event);

interface RawEvent {
  n: number;
  event: string;
  at: number;
  data: Json;
  /** Characters of the data. */
  size: number;
}

export default function TryIt() {
  const filters = query.value;
  const assistants = useAssistants();
  const chosen = filters.get("assistant") ?? assistants.value?.[0]?.assistant_id ?? "";
  const schemas = useSchemas(chosen);
  const thread = filters.get("thread");
  const modes = (filters.get("modes") ?? DEFAULT_MODES).split(",").filter((mode) => MODES.includes(mode));
  const raw = useRaw();
  const isGone = useRef(false);
  useEffect(() => () => void (isGone.current = true), []);
  const start = async (input: Json, config: Json, key: string): Promise<void> => {
    const headers = { "idempotency-key": key };
    const id = thread ?? (await call<Thread>("/threads", { body: {}, headers })).thread_id;
    const body = { assistant_id: chosen, input, ...(isFields(config) && Object.keys(config).length > 0 ? { context: config } : {}), stream_mode: [...new Set([...modes, "messages-tuple"])], stream_subgraphs: true, stream_resumable: true };
    const run = await call<Run>(at`/threads/${id}/runs`, { body, headers });
    // the address is another page's by now
    if (isGone.current) return;
    if (thread === null) setQuery({ thread: id, assistant: chosen });
    raw.follow(id, run.run_id);
  };
  return (
    <div class="page">
      <PageHead title="Try it">
        {thread && (
          <>
            <span class="quiet">thread</span> <Id id={thread} href={to("threads", thread)} />
            <Button small onClick={() => { setQuery({ thread: null }); raw.clear(); }}>New thread</Button>
          </>
        )}
      </PageHead>
      <form class="filters" aria-label="What is tried" onSubmit={(event) => event.preventDefault()}>
        <label>
          Assistant
          <select class="select" value={chosen} onChange={(event) => setQuery({ assistant: event.currentTarget.value, thread: null })}>
            {isUnknown(schemas.error) && <option value={chosen}>choose one</option>}
            {assistants.value?.map((one) => (
              <option key={one.assistant_id} value={one.assistant_id}>{titleOf(one)}</option>
            ))}
          </select>
        </label>
        <fieldset class="modes row wrap" aria-label="Stream modes">
          {MODES.map((mode) => (
            <label class="row" key={mode}>
              <input type="checkbox" checked={modes.includes(mode)} onChange={(event) => setQuery({ modes: (event.currentTarget.checked ? [...modes, mode] : modes.filter((one) => one !== mode)).join(",") || null })} /> {mode}
            </label>
          ))}
        </fieldset>
      </form>
      {assistants.error && <Failure error={assistants.error} again={assistants.again} />}
      {assistants.value?.length === 0 && <Nothing title="No assistant yet"><p>A worker makes one for each graph of langgraph.json when it starts.</p></Nothing>}
      {schemas.error && <Failure error={unknownOr(schemas.error, chosen)} again={schemas.again} />}
      {chosen && !isUnknown(schemas.error) && (
        <div class="try-split">
          <section class="try-left" aria-label="Conversation">
            {thread ? <Talk key={thread} thread={thread} /> : <Nothing title="A new thread"><p>Your first input makes it.</p></Nothing>}
            {readOnly ? <p class="quiet">This console only reads.</p> : schemas.value ? <Composer key={chosen} chats={talks(schemas.value.input_schema)} schema={schemas.value.input_schema} context={schemas.value.context_schema ?? null} start={start} /> : !schemas.error && <Loading lines={2} />}
          </section>
          <section class="try-right" aria-label="Events">
            <Raw events={modes.includes("messages-tuple") ? raw.events : raw.events.filter((one) => !isWriting(one.event))} live={raw.live} />
          </section>
        </div>
      )}
    </div>
  );
}

function Talk({ thread }: { thread: string }) {
  const around = useThread(thread, null);
  const values = around.state.value?.values;
  const found = conversationOf(isFields(values) ? values : null);
  const messages = withWriting(isFields(values) && found ? (values[found.channel] as Json[]) : [], around.writing);
  const status = around.thread.value?.status;
  const asked = Object.values(around.thread.value?.interrupts ?? {}).flat()[0];
  const run = around.runs.value?.find((one) => one.status === "running" || one.status === "pending");
  return (
    <div class="try-talk scroll" tabIndex={0} role="region" aria-label="Messages and state">
      {around.thread.error && <Failure error={around.thread.error} again={around.thread.again} />}
      <div class="row try-status">
        {status && <Status of={status} />}
        {run && !readOnly && <ActionButton small icon="stop" act={() => call(at`/threads/${thread}/runs/${run.run_id}/cancel`, { method: "POST" })}>Stop</ActionButton>}
        {status === "interrupted" && <a href={to("inbox", { interrupt: asked === undefined ? null : `${thread} ${asked.id}` })}>It waits for an answer: see the inbox</a>}
        {status === "error" && around.thread.value?.error && <span class="try-error">{`${around.thread.value.error.error}: ${around.thread.value.error.message}`.slice(0, 600)}</span>}
      </div>
      {messages.length > 0 ? <Conversation messages={messages.map(shownMessage)} streaming={status === "busy" && around.writing.size > 0} /> : isFields(values) && Object.keys(values).length > 0 && <div class="card"><JsonTree value={values} open={3} /></div>}
    </div>
  );
}

function Composer({ chats, schema, context, start }: { chats: boolean; schema: import("../../ui/schema").Schema | null; context: import("../../ui/schema").Schema | null; start: (input: Json, context: Json, key: string) => Promise<void> }) {
  const [asForm, setAsForm] = useState(!chats);
  const [text, setText] = useState("");
  const [attached, setAttached] = useState<Attachment[]>([]);
  const [value, setValue] = useState<Json>(() => initial(controlOf(schema ?? undefined, schema ?? {}), schema ?? undefined) ?? {});
  const [config, setConfig] = useState<Json>({});
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState(false);
  const [wrongContext, setWrongContext] = useState(false);
  const sent = useRef({ what: "", key: "" });
  const add = (files: File[]): void => void attach(files).then((more) => setAttached((before) => [...before, ...more]), (error: Error) => toast(error.message, "bad"));
  const send = async (): Promise<void> => {
    if (busy || wrong || wrongContext || (!asForm && text.trim() === "" && attached.length === 0)) return;
    setBusy(true);
    try {
      const input = asForm ? value : { messages: [messageOf(text, attached)] };
      const what = JSON.stringify([input, config]);
      // the same key until an answer came: a run that was accepted before the connection broke is not made a second time
      if (sent.current.what !== what) sent.current = { what, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
      await start(input, config, sent.current.key);
      sent.current = { what: "", key: "" };
      setText("");
      setAttached([]);
    } catch (error) {
      toast((error as Error).message, "bad");
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="composer stack" aria-label="Input" onSubmit={(event) => { event.preventDefault(); void send(); }}>
      {asForm ? (
        <SchemaForm schema={schema} value={value} onChange={setValue} onWrong={setWrong} label="Input" />
      ) : (
        <>
          <textarea class="textarea" rows={3} aria-label="Message" placeholder="Write a message. Ctrl+Enter sends it." value={text} onInput={(event) => setText(event.currentTarget.value)} onKeyDown={(event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); void send(); } }} />
          {attached.length > 0 && (
            <ul class="attached" aria-label="Attachments">
              {attached.map((one, index) => (
                <li key={index} class="row"><span class="clip">{one.name}</span><Button small kind="bare" icon="close" aria-label={`Remove ${one.name}`} onClick={() => setAttached(attached.filter((_, n) => n !== index))} /></li>
              ))}
            </ul>
          )}
        </>
      )}
      {context && Object.keys(context).length > 0 && <details><summary>Context</summary><JsonField label="Context" value={config} onChange={setConfig} onWrong={setWrongContext} rows={4} /></details>}
      <div class="row wrap">
        <Button kind="main" icon="play" type="submit" disabled={busy || wrong || wrongContext} aria-busy={busy}>{asForm ? "Run" : "Send"}</Button>
        {!asForm && (
          <label class="button small">
            Attach
            <input class="visually-hidden" type="file" multiple aria-label="Attach files" onChange={(event) => { add([...(event.currentTarget.files ?? [])]); event.currentTarget.value = ""; }} />
          </label>
        )}
        {chats && <Button small kind="bare" onClick={() => setAsForm(!asForm)}>{asForm ? "As a conversation" : "As an input form"}</Button>}
      </div>
    </form>
  );
}

/** `files`: a list of its own, since that of the input is emptied while they are read. */
async function attach(files: File[]): Promise<Attachment[]> {
  const found: Attachment[] = [];
  for (const file of files) {
    if (file.size > ATTACHED_MOST) {
      toast(`${file.name} is larger than 8 MB`, "bad");
      continue;
    }
    if (isText(file.type, file.name)) {
      found.push({ name: file.name, type: file.type, data: await file.text(), text: true });
      continue;
    }
    const url = await new Promise<string>((done, failed) => {
      const reader = new FileReader();
      reader.onload = () => done(String(reader.result));
      reader.onerror = () => failed(new Error(`${file.name} cannot be read`));
      reader.readAsDataURL(file);
    });
    found.push({ name: file.name, type: file.type, data: url.slice(url.indexOf(",") + 1), text: false });
  }
  return found;
}

function useRaw(): { events: RawEvent[]; live: boolean; follow: (thread: string, run: string) => void; clear: () => void } {
  const [events, setEvents] = useState<RawEvent[]>([]);
  const [live, setLive] = useState(false);
  const close = useRef<() => void>(() => undefined);
  const count = useRef(0);
  const clear = (): void => {
    close.current();
    setLive(false);
    setEvents([]);
  };
  // what one caller sees is not for the next
  useEffect(() => clear, [credentials.value]);
  return {
    events,
    live,
    clear,
    follow: (thread, run) => {
      close.current();
      close.current = follow(at`/threads/${thread}/runs/${run}/stream`, {
        from: "-1",
        onOpen: () => setLive(true),
        onEvent: ({ event, data }) => {
          let value: Json;
          try {
            value = JSON.parse(data) as Json;
          } catch {
            value = data;
          }
          const one: RawEvent = { n: count.current++, event, at: Date.now(), data: value, size: data.length };
          setEvents((before) => withLast(before, one));
        },
        onWaiting: () => setLive(false),
        onRefused: (error) => {
          setLive(false);
          toast(error.message, "bad");
        },
        onEnd: async () => {
          // a server that shuts down closes its streams as well: whether there is more to come, the run says
          const goesOn = await call<Run>(at`/threads/${thread}/runs/${run}`).then(
            ({ status }) => status === "pending" || status === "running",
            (error: unknown) => !(error instanceof ApiError && error.status >= 400 && error.status < 500),
          );
          if (!goesOn) setLive(false);
          return goesOn;
        },
      });
    },
  };
}

function Raw({ events, live }: { events: RawEvent[]; live: boolean }) {
  const kinds = [...new Set(events.map((one) => one.event.split("|")[0] ?? one.event))];
  const [kind, setKind] = useState("all");
  const shown = kind === "all" ? events : events.filter((one) => one.event.split("|")[0] === kind);
  if (events.length === 0) return <Nothing title="Events of the stream"><p>As clients receive them, for the modes chosen above.</p></Nothing>;
  return (
    <Tabs label="Kinds of events" chosen={kind} onChoose={setKind} tabs={[{ key: "all", title: `all ${events.length}` }, ...kinds.map((name) => ({ key: name, title: name }))]}>
      <ol class="raw" aria-label="Raw events">
        {shown.slice(-200).map((one) => (
          <li key={one.n}>
            <Badge tone={one.event === "error" ? "bad" : "quiet"} plain>{one.event}</Badge>
            <JsonTree value={one.data} open={0} preview />
          </li>
        ))}
        {live && <li class="quiet" role="status">waiting for more</li>}
      </ol>
    </Tabs>
  );
}
