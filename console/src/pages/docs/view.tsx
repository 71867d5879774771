// The API's reference from the server's own OpenAPI document, and each operation to be tried.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery } from "../../app/router";
import { call, credentials, root } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Json } from "../../api/types";
import { Badge, Button, CopyButton, Failure, Loading, Nothing, PageHead } from "../../ui/basic";
import { Code } from "../../ui/code";
import { duration } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { Markdown } from "../../ui/markdown";
import { curlOf, fieldsOf, filled, grouped, operationsOf, repeated, typeOf, type Document, type Operation } from "./operations";

export default function Docs() {
  const filters = query.value;
  const document = useLoad((signal) => call<Document>("/openapi.json", { signal }), []);
  const operations = useMemo(() => (document.value ? operationsOf(document.value) : []), [document.value]);
  const words = filters.get("find") ?? "";
  const groups = useMemo(() => grouped(operations, words), [operations, words]);
  const open = operations.find((one) => one.id === filters.get("operation"));
  return (
    <div class="page">
      <PageHead title="API">
        {document.value?.info?.version && <span class="quiet">{`langlog ${document.value.info.version}`}</span>}
        <a href={`${root}/openapi.json`} target="_blank" rel="noopener">openapi.json</a>
      </PageHead>
      {document.error && <Failure error={document.error} again={document.again} />}
      {document.loading && !document.value && <Loading lines={8} />}
      {document.value && (
        <div class="docs-split">
          <nav class="docs-list scroll" aria-label="Operations" tabIndex={0}>
            <input class="input" data-filter type="search" aria-label="Find an operation" placeholder="Find an operation" value={words} onInput={(event) => setQuery({ find: event.currentTarget.value })} />
            {groups.length === 0 && <p class="quiet">No operation matches.</p>}
            {groups.map(([tag, of]) => (
              <section key={tag} aria-label={tag}>
                <h2>{tag}</h2>
                <ul>
                  {of.map((one) => (
                    <li key={one.id}>
                      <button type="button" class="docs-entry" aria-current={one === open} onClick={() => setQuery({ operation: one.id })}>
                        <span class={`method ${one.method.toLowerCase()}`}>{one.method}</span>
                        <span>{one.summary}{repeated(of).has(one.summary) && <span class="quiet mono same"> {one.path}</span>}</span>
                      </button>
                    </li>
                  ))}
                </ul>
              </section>
            ))}
          </nav>
          <div class="docs-body scroll" tabIndex={0} role="region" aria-label="Operation">
            {open ? <One key={open.id} operation={open} components={document.value.components?.schemas ?? {}} /> : <Nothing title={`${operations.length} operations`}><p>Choose an operation on the left to see its parameters and responses, with a form that sends it.</p></Nothing>}
          </div>
        </div>
      )}
    </div>
  );
}

function One({ operation, components }: { operation: Operation; components: NonNullable<NonNullable<Document["components"]>["schemas"]> }) {
  const fields = operation.body ? fieldsOf(operation.body.schema, components) : [];
  const good = operation.responses.find((one) => one.status.startsWith("2"));
  return (
    <article class="stack" aria-label={operation.summary}>
      <h2>{operation.summary}</h2>
      <div class="row wrap"><span class={`method ${operation.method.toLowerCase()}`}>{operation.method}</span><code class="mono docs-path">{operation.path}</code><CopyButton text={operation.path} label="Copy the path" /></div>
      {operation.description && <Markdown text={operation.description} />}
      {operation.parameters.length > 0 && (
        <section aria-label="Parameters">
          <h3>Parameters</h3>
          <table class="plain-table">
            <thead><tr><th scope="col">Name</th><th scope="col">In</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead>
            <tbody>
              {operation.parameters.map((one) => (
                <tr key={`${one.in} ${one.name}`}><td class="mono">{one.name}{one.required && <span class="required"> required</span>}</td><td class="quiet">{one.in}</td><td class="mono quiet">{typeOf(one.schema, components)}</td><td><Words text={one.description} /></td></tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {fields.length > 0 && (
        <section aria-label="Members of the body">
          <h3>Body</h3>
          <table class="plain-table">
            <thead><tr><th scope="col">Member</th><th scope="col">Type</th><th scope="col">Meaning</th></tr></thead>
            <tbody>
              {fields.map((one) => (
                <tr key={one.name}><td class="mono name">{one.name}{one.required && <span class="required"> required</span>}</td><td class="mono quiet type">{one.type}</td><td><Words text={one.about} /></td></tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {(!readOnly || operation.method === "GET") && <Try operation={operation} />}
      <section aria-label="Responses">
        <h3>Responses</h3>
        <ul class="docs-responses">
          {operation.responses.map((one) => (
            <li key={one.status}><Badge tone={one.status.startsWith("2") ? "ok" : one.status.startsWith("5") ? "bad" : "wait"}>{one.status}</Badge> <Words text={one.description} /> {one.media && <span class="quiet">{one.media}</span>}</li>
          ))}
        </ul>
        {good?.example !== undefined && <><p class="quiet">Example</p>{typeof good.example === "string" ? <Code text={good.example.slice(0, 10_000)} /> : <Code text={JSON.stringify(good.example, null, 2).slice(0, 20_000)} />}</>}
      </section>
    </article>
  );
}

/** A sentence of the document, with its `names` as code. */
function Words({ text }: { text: string }) {
  return <>{text.split("`").map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</>;
}

const SHOWN_MOST = 200_000;

function Try({ operation }: { operation: Operation }) {
  const [values, setValues] = useState<Record<string, string>>({});
  const [body, setBody] = useState(() => (operation.body ? JSON.stringify(operation.body.example ?? {}, null, 2) : ""));
  const [answer, setAnswer] = useState<{ status: number; ms: number | null; text: string } | null>(null);
  const [wrong, setWrong] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const breaking = useRef<AbortController | null>(null);
  // what one caller was answered is not for the next
  const forget = (): void => {
    breaking.current?.abort();
    breaking.current = null;
    setAnswer(null);
    setWrong(null);
    setBusy(false);
  };
  useEffect(() => forget, [credentials.value]);

  const send = async (): Promise<void> => {
    breaking.current?.abort();
    const mine = new AbortController();
    breaking.current = mine;
    const show = (status: number, ms: number | null, text: string): void => {
      if (breaking.current === mine) setAnswer({ status, ms, text });
    };
    setWrong(null);
    setAnswer(null);
    setBusy(true);
    const began = performance.now();
    try {
      const { path, query: search, headers } = filled(operation, values);
      if (operation.body && body.trim() !== "") JSON.parse(body);
      const all = new URLSearchParams();
      for (const [name, value] of Object.entries(search)) for (const one of Array.isArray(value) ? value : [value]) all.append(name, one);
      // paths of the document begin with the mount prefix
      const response = await fetch(`${path}${all.size > 0 ? `?${all}` : ""}`, {
        method: operation.method,
        headers: { ...credentials.peek(), ...headers, ...(operation.body ? { "content-type": "application/json" } : {}) },
        body: operation.body && body.trim() !== "" ? body : null,
        signal: mine.signal,
        cache: "no-store",
      });
      let text = "";
      show(response.status, null, text);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const part = await reader?.read();
        if (part === undefined || part.done) break;
        text += part.value;
        if (text.length > SHOWN_MOST) {
          mine.abort();
          text = `${text.slice(0, SHOWN_MOST)}\n… the rest is not shown`;
        }
        show(response.status, null, text);
      }
      show(response.status, performance.now() - began, text);
    } catch (error) {
      if (!mine.signal.aborted) setWrong((error as Error).message);
    } finally {
      if (breaking.current === mine) setBusy(false);
    }
  };
  let curl = "";
  try {
    const { path, query: search, headers } = filled(operation, values);
    curl = curlOf(location.origin, operation.method, path, search, headers, operation.body ? body : null);
  } catch {
    // a parameter is missing yet
  }
  const shown = answer === null ? null : parsed(answer.text);
  return (
    <section class="card stack" aria-label="Try it">
      <h3>Try it</h3>
      {operation.parameters.map((one) => {
        const name = `${one.in} ${one.name}`;
        return (
          <label class="field" key={name}>
            <span>{one.name} <span class="quiet">{one.in}{one.required ? ", required" : ""}</span></span>
            <input class="input mono" value={values[name] ?? ""} placeholder={one.example === undefined ? "" : String(typeof one.example === "object" ? JSON.stringify(one.example) : one.example)} onInput={(event) => setValues({ ...values, [name]: event.currentTarget.value })} />
          </label>
        );
      })}
      {operation.body && <textarea class="textarea code" rows={Math.min(16, body.split("\n").length + 1)} aria-label="Body" value={body} spellcheck={false} onInput={(event) => setBody(event.currentTarget.value)} />}
      <div class="row wrap">
        <Button kind="main" icon="play" disabled={busy} onClick={() => void send()}>Send</Button>
        {busy && <Button icon="stop" onClick={() => { breaking.current?.abort(); setBusy(false); }}>Stop</Button>}
        {curl && <CopyButton text={curl} label="Copy as a curl command">curl</CopyButton>}
      </div>
      {wrong && <Failure error={wrong} />}
      {answer && (
        <div role="status" aria-label="Response" class="stack">
          <div class="row"><Badge tone={answer.status < 300 ? "ok" : answer.status < 500 ? "wait" : "bad"}>{String(answer.status)}</Badge>{answer.ms !== null && <span class="quiet number">{duration(answer.ms)}</span>}</div>
          {shown !== undefined ? <JsonTree value={shown} open={3} /> : answer.text !== "" && <pre class="code-block" tabIndex={0}>{answer.text}</pre>}
        </div>
      )}
    </section>
  );
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
