// Assistants: versions and what differs between them, edit by the forms of the graph's schemas, set the latest.
import { useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery, to } from "../../app/router";
import { titleOf, useAssistants, useSchemas } from "../../api/assistants";
import { concerns, useChanges } from "../../api/changes";
import { at, call } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Assistant, Json } from "../../api/types";
import { ActionButton, Badge, Button, Failure, Field, Id, Loading, Nothing, PageHead, Time } from "../../ui/basic";
import { Dialog } from "../../ui/dialog";
import { plural } from "../../ui/format";
import { isFields } from "../../ui/messages";
import { JsonField, SchemaForm } from "../../ui/schema-form";
import { differences, type Difference } from "./versions";

const VERSIONS = 100;

export default function Assistants() {
  const filters = query.value;
  const assistants = useAssistants();
  useChanges((changes) => concerns(changes, "assistant") && assistants.again(), []);
  const chosen = assistants.value?.find((one) => one.assistant_id === filters.get("assistant")) ?? assistants.value?.[0];
  return (
    <div class="page">
      <PageHead title="Assistants">{assistants.value && <span class="quiet number">{plural(assistants.value.length, "assistant")}</span>}</PageHead>
      {assistants.error && <Failure error={assistants.error} again={assistants.again} />}
      {assistants.loading && !assistants.value && <Loading />}
      {assistants.value?.length === 0 && <Nothing title="No assistant yet"><p>A worker makes one for each graph of langgraph.json when it starts.</p></Nothing>}
      {chosen && (
        <div class="inbox-split">
          <ul class="questions" aria-label="Assistants">
            {assistants.value?.map((one) => (
              <li key={one.assistant_id} class={one === chosen ? "chosen" : ""}>
                <button type="button" class="inbox-question" aria-current={one === chosen} onClick={() => setQuery({ assistant: one.assistant_id, version: null })}>
                  <span class="clip">{titleOf(one)}</span>
                  <span class="quiet row"><span>{`version ${one.version}`}</span><Time at={one.updated_at} /></span>
                </button>
              </li>
            ))}
          </ul>
          <div class="answer stack"><One key={chosen.assistant_id} assistant={chosen} again={assistants.again} /></div>
        </div>
      )}
    </div>
  );
}

function One({ assistant, again }: { assistant: Assistant; again: () => void }) {
  const versions = useLoad((signal) => call<Assistant[]>(at`/assistants/${assistant.assistant_id}/versions`, { body: { limit: VERSIONS }, signal }), [assistant.assistant_id, assistant.version, assistant.updated_at]);
  const [editing, setEditing] = useState(false);
  const shown = Number(query.value.get("version")) || assistant.version;
  const all = versions.value ?? [];
  const one = all.find((version) => version.version === shown);
  const before = all.find((version) => version.version < shown);
  return (
    <article class="stack" aria-label={titleOf(assistant)}>
      <div class="row wrap">
        <h2>{titleOf(assistant)}</h2>
        <Id id={assistant.assistant_id} />
        <span class="push row">
          <a class="button small" href={to("try", { assistant: assistant.assistant_id })}>Try it</a>
          <a class="button small" href={to("graph", { assistant: assistant.assistant_id })}>Graph</a>
          {!readOnly && <Button small onClick={() => setEditing(!editing)} aria-expanded={editing}>Edit</Button>}
        </span>
      </div>
      {assistant.description && <p class="quiet">{assistant.description.slice(0, 2_000)}</p>}
      {editing && <Edit assistant={assistant} done={() => { setEditing(false); again(); setQuery({ version: null }); }} />}
      {versions.error && <Failure error={versions.error} again={versions.again} />}
      {versions.loading && !versions.value && <Loading />}
      {all.length > 0 && (
        <div class="row wrap" role="group" aria-label="Versions">
          {all.map((version) => (
            <Button small key={version.version} kind={version.version === shown ? "main" : "plain"} aria-pressed={version.version === shown} onClick={() => setQuery({ version: String(version.version) })}>{`${version.version}`}</Button>
          ))}
        </div>
      )}
      {one && (
        <section class="card stack" aria-label={`Version ${one.version}`}>
          <div class="row wrap">
            <strong>{`Version ${one.version}`}</strong>
            {one.version === assistant.version ? <Badge tone="ok">in use</Badge> : !readOnly && <ActionButton small act={async () => { await call(at`/assistants/${assistant.assistant_id}/latest`, { body: { version: one.version } }); again(); }} done={`Version ${one.version} is in use`}>Use this version</ActionButton>}
            <Time at={one.created_at} />
          </div>
          {before ? <Changes title={`Against version ${before.version}`} of={differences(content(before), content(one))} /> : <p class="quiet">The first version.</p>}
          <pre class="code-block">{JSON.stringify(content(one), null, 2).slice(0, 50_000)}</pre>
        </section>
      )}
    </article>
  );
}

const content = (one: Assistant): Json => ({ name: one.name, description: one.description ?? null, config: one.config, context: one.context ?? {}, metadata: one.metadata });

function Changes({ title, of }: { title: string; of: Difference[] }) {
  return (
    <div>
      <p class="quiet">{of.length === 0 ? `${title}: nothing differs` : `${title}: ${plural(of.length, "difference")}`}</p>
      <dl class="differences">
        {of.slice(0, 200).map((one) => (
          <div key={one.path}>
            <dt class="mono">{one.path}</dt>
            <dd class="removed"><span class="visually-hidden">before: </span>{one.before ?? "(nothing)"}</dd>
            <dd class="added"><span class="visually-hidden">now: </span>{one.after ?? "(nothing)"}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function Edit({ assistant, done }: { assistant: Assistant; done: () => void }) {
  const schemas = useSchemas(assistant.assistant_id);
  const [name, setName] = useState(assistant.name);
  const [description, setDescription] = useState(assistant.description ?? "");
  const [context, setContext] = useState<Json>(assistant.context ?? {});
  const [config, setConfig] = useState<Json>(assistant.config);
  const [metadata, setMetadata] = useState<Json>(assistant.metadata);
  const [wrong, setWrong] = useState(false);
  const [wrongMetadata, setWrongMetadata] = useState(false);
  const [asking, setAsking] = useState(false);
  const hasContext = isFields(schemas.value?.context_schema ?? undefined);
  const save = async (): Promise<void> => {
    // config and context are two spellings of one thing: a graph with a context schema gets its context
    const body = { name, description, metadata, ...(hasContext ? { context } : { config }) };
    await call(at`/assistants/${assistant.assistant_id}`, { method: "PATCH", body });
    done();
  };
  return (
    <form class="card stack" aria-label="Edit the assistant" onSubmit={(event) => event.preventDefault()}>
      <Field label="Name"><input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} /></Field>
      <Field label="Description"><textarea class="textarea" rows={2} value={description} onInput={(event) => setDescription(event.currentTarget.value)} /></Field>
      {hasContext ? <div><span class="quiet">Context</span><SchemaForm schema={schemas.value?.context_schema} value={context} onChange={setContext} onWrong={setWrong} label="Context" /></div> : <div><span class="quiet">Config</span><JsonField label="Config" value={config} onChange={setConfig} onWrong={setWrong} rows={5} /></div>}
      <div><span class="quiet">Metadata</span><JsonField label="Metadata" value={metadata} onChange={setMetadata} onWrong={setWrongMetadata} rows={4} /></div>
      <div class="row wrap">
        <ActionButton kind="main" disabled={wrong || wrongMetadata || name === ""} act={save}>Save as a new version</ActionButton>
        <Button kind="danger" small class="push" onClick={() => setAsking(true)}>Delete the assistant</Button>
      </div>
      {asking && (
        <Dialog title={`Delete ${titleOf(assistant)}?`} onClose={() => setAsking(false)}>
          <p>All its versions are deleted. Threads and runs are kept. A worker creates the default assistant of a graph again when it starts.</p>
          <footer>
            <Button onClick={() => setAsking(false)}>Keep it</Button>
            <ActionButton kind="danger" act={async () => { await call(at`/assistants/${assistant.assistant_id}`, { method: "DELETE" }); setAsking(false); setQuery({ assistant: null }); done(); }}>Delete it</ActionButton>
          </footer>
        </Dialog>
      )}
    </form>
  );
}
