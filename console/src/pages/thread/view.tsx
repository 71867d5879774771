// One thread: the conversation (or the state) on one side; runs, checkpoints and the raw state on the other. `?checkpoint=` shows it
// as of then, `?tab=` names the open side panel: both can be shared.
import { query, setQuery, to } from "../../app/router";
import { readOnly } from "../../app/mode";
import { at, call } from "../../api/client";
import type { Json, Run, State } from "../../api/types";
import { ActionButton, Badge, Failure, Id, Loading, Nothing, PageHead, Status, Time } from "../../ui/basic";
import { Conversation } from "../../ui/conversation";
import { duration, oneLine, plural, shortId } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { conversationOf, isFields, messageOf } from "../../ui/messages";
import { Tabs } from "../../ui/tabs";
import { Tree } from "./checkpoints";
import { useThread, type Around } from "./data";
import { withWriting } from "./live";

export default function ThreadView({ params }: { params: Record<string, string> }) {
  const id = params["thread"] ?? "";
  const checkpoint = query.value.get("checkpoint");
  const around = useThread(id, checkpoint);
  const { thread, state } = around;
  if (thread.error && !thread.value) {
    return (
      <div class="page">
        <PageHead title={id} trail={[{ text: "Threads", href: to("threads") }]} />
        <Failure error={thread.error} again={thread.again} />
      </div>
    );
  }
  const title = conversationOf(state.value?.values)?.messages[0]?.parts.find((part) => part.kind === "text");
  return (
    <div class="page">
      <PageHead title={title?.kind === "text" ? oneLine(title.text, 80) : id} trail={[{ text: "Threads", href: to("threads") }]}>
        {thread.value && <Status of={thread.value.status} />}
        {around.live && <Badge tone="ok">live</Badge>}
        <Id id={id} />
        <a class="button" href={to("threads", id, "events")}>
          Events
        </a>
        <a class="button" href={to("threads", id, "travel", checkpoint ? { checkpoint } : {})}>
          Time travel
        </a>
      </PageHead>
      <div class="thread">
        <div class="scroll thread-main" role="region" aria-label="Thread" tabIndex={0}>
          {checkpoint !== null && <AsOf id={id} checkpoint={checkpoint} state={state.value} />}
          {state.error && <Failure error={state.error} again={state.again} />}
          {thread.value?.error && checkpoint === null && <Failed error={thread.value.error} id={id} runs={around.runs.value} />}
          <Main around={around} past={checkpoint !== null} />
        </div>
        <div class="thread-side">
          <Tabs
            label="About the thread"
            chosen={query.value.get("tab") ?? "runs"}
            onChoose={(tab) => setQuery({ tab: tab === "runs" ? null : tab })}
            tabs={[
              { key: "runs", title: <>Runs {around.runs.value && <span class="quiet number">{around.runs.value.length}</span>}</> },
              { key: "checkpoints", title: <>Checkpoints {around.checkpoints.value && <span class="quiet number">{around.checkpoints.value.length}{around.hasEarlier && "+"}</span>}</> },
              { key: "state", title: "State" },
              { key: "about", title: "About" },
            ]}
          >
            <Side id={id} around={around} checkpoint={checkpoint} />
          </Tabs>
        </div>
      </div>
    </div>
  );
}

function Main({ around, past }: { around: Around; past: boolean }) {
  const state = around.state.value;
  if (state === undefined) return around.state.loading ? <Loading lines={6} /> : null;
  const found = conversationOf(state.values);
  const busy = around.thread.value?.status === "busy";
  const raw = found === null ? [] : found.messages.map((message) => message.raw);
  const messages = past ? raw : withWriting(raw, around.writing);
  const interrupts = state.interrupts ?? state.tasks.flatMap((task) => task.interrupts);
  // the API answers an empty state
  if (past && state.created_at === null) {
    return (
      <Nothing title="No such checkpoint">
        <p>This thread has no checkpoint of this id. Its checkpoints are listed beside.</p>
      </Nothing>
    );
  }
  if (messages.length === 0 && Object.keys(state.values).length === 0) {
    return (
      <Nothing title="Nothing yet">
        <p>{busy ? "The run has not written anything so far." : "No run has written to this thread."}</p>
      </Nothing>
    );
  }
  return (
    <>
      {messages.length > 0 ? (
        <Conversation messages={messages.map(messageOf)} streaming={busy && !past && around.writing.size > 0} />
      ) : (
        <div class="conversation">
          <div class="card">
            <JsonTree value={state.values} open={2} />
          </div>
        </div>
      )}
      {interrupts.map((interrupt) => (
        <Question key={interrupt.id} id={around.thread.value?.thread_id ?? ""} interrupt={interrupt} past={past} />
      ))}
    </>
  );
}

function Question({ id, interrupt, past }: { id: string; interrupt: { id: string; value: Json }; past: boolean }) {
  const asked = isFields(interrupt.value) && typeof interrupt.value["question"] === "string" ? interrupt.value["question"] : null;
  return (
    <section class="question" aria-label="Open interrupt">
      <header class="row">
        <Badge tone="wait">waits for an answer</Badge>
        {asked && <strong>{oneLine(asked, 300)}</strong>}
        {!past && !readOnly && (
          <a class="button small push" href={to("inbox", { interrupt: `${id} ${interrupt.id}` })}>
            Answer in the inbox
          </a>
        )}
      </header>
      <JsonTree value={interrupt.value} open={2} />
    </section>
  );
}

function Failed({ error, id, runs }: { error: { error: string; message: string }; id: string; runs: Run[] | undefined }) {
  const run = runs?.find((one) => one.status === "error" || one.status === "timeout");
  return (
    <div class="failure" role="alert">
      <span>
        <strong>{error.error}</strong>: {oneLine(error.message, 1000)}
      </span>
      {run && (
        <a class="button small push" href={to("threads", id, "runs", run.run_id)}>
          What happened
        </a>
      )}
    </div>
  );
}

function AsOf({ id, checkpoint, state }: { id: string; checkpoint: string; state: State | undefined }) {
  const parent = state?.parent_checkpoint?.checkpoint_id;
  return (
    <div class="as-of">
      {state === undefined || state.created_at !== null ? (
        <span>
          As of step {String(state?.metadata?.["step"] ?? "…")} <Time at={state?.created_at} />
        </span>
      ) : (
        <span class="mono clip">{checkpoint}</span>
      )}
      <span class="push row">
        {parent && (
          <a class="button small" href={to("threads", id, "diff", { a: parent, b: checkpoint })}>
            What it changed
          </a>
        )}
        {state?.created_at != null && (
          <a class="button small" href={to("threads", id, "travel", { checkpoint })}>
            Go on from here
          </a>
        )}
        <a class="button small" href={to("threads", id, { tab: query.value.get("tab") })}>
          Back to the last state
        </a>
      </span>
    </div>
  );
}

function Side({ id, around, checkpoint }: { id: string; around: Around; checkpoint: string | null }) {
  switch (query.value.get("tab") ?? "runs") {
    case "checkpoints":
      return (
        <Tree
          checkpoints={around.checkpoints}
          chosen={checkpoint}
          hrefOf={(one, isNewest) => to("threads", id, { checkpoint: isNewest ? null : one, tab: "checkpoints" })}
          earlier={around.hasEarlier ? around.earlier : undefined}
        />
      );
    case "state":
      return <div class="padded">{around.state.value ? <JsonTree value={around.state.value as unknown as Json} open={2} /> : <Loading />}</div>;
    case "about":
      return <About around={around} id={id} />;
    default:
      return <Runs id={id} runs={around.runs.value} error={around.runs.error} waits={around.thread.value?.status === "interrupted"} />;
  }
}

/** `waits`: the last run has ended at an interrupt, which the API calls success. */
function Runs({ id, runs, error, waits }: { id: string; runs: Run[] | undefined; error: Error | null; waits: boolean }) {
  if (error && !runs) return <Failure error={error} />;
  if (runs === undefined) return <Loading />;
  if (runs.length === 0) return <Nothing title="No run yet" />;
  return (
    <ul class="runs">
      {runs.map((run, index) => (
        <li key={run.run_id}>
          <a href={to("threads", id, "runs", run.run_id)} class="run">
            {waits && index === 0 && run.status === "success" ? <Badge tone="wait">waits for an answer</Badge> : <Status of={run.status} />}
            <span class="mono quiet">{shortId(run.run_id)}</span>
            <span class="push quiet number">{run.status === "pending" || run.status === "running" ? "" : duration(Date.parse(run.updated_at) - Date.parse(run.created_at))}</span>
            <Time at={run.created_at} />
          </a>
          {!readOnly && (run.status === "pending" || run.status === "running") && (
            <ActionButton small kind="danger" icon="stop" act={() => call(at`/threads/${id}/runs/${run.run_id}/cancel`, { method: "POST", query: { wait: false } })} done="The run is being cancelled.">
              Cancel
            </ActionButton>
          )}
        </li>
      ))}
    </ul>
  );
}

function About({ around, id }: { around: Around; id: string }) {
  const thread = around.thread.value;
  if (thread === undefined) return <Loading />;
  const waiting = Object.values(thread.interrupts ?? {}).flat().length;
  return (
    <div class="padded stack">
      <dl class="facts">
        <dt>Id</dt>
        <dd><Id id={id} /></dd>
        <dt>Created</dt>
        <dd><Time at={thread.created_at} /></dd>
        <dt>Changed</dt>
        <dd><Time at={thread.updated_at} /></dd>
        <dt>Interrupts</dt>
        <dd>{plural(waiting, "open interrupt")}</dd>
      </dl>
      <h2>Metadata</h2>
      <JsonTree value={thread.metadata} open={2} />
      <h2>Config of the last run</h2>
      <JsonTree value={thread.config ?? null} open={2} />
    </div>
  );
}
