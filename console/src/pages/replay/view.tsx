// A past run again, in a sandbox against today's code: the verdict node by node, as it is found.
import { useEffect, useRef, useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery, to } from "../../app/router";
import { ApiError, at, call, credentials, follow } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Difference, Replayed, ReplayStep, Verdict } from "../../api/operator";
import type { Run } from "../../api/types";
import { Badge, Button, Failure, Id, Loading, Nothing, PageHead, Status, Time, type Tone } from "../../ui/basic";
import { plural } from "../../ui/format";

const TONES: Record<Verdict, Tone> = { same: "ok", different: "bad", "recorded only": "wait", "replayed only": "wait" };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export default function Replay() {
  const filters = query.value;
  const thread = filters.get("thread") ?? "";
  const run = filters.get("run") ?? "";
  return (
    <div class="page">
      <PageHead title="Replay">{thread && run && <a href={to("threads", thread, "runs", run)}>The run as it was</a>}</PageHead>
      <div class="page-body stack replay">
        <p class="quiet">Replays a past run in a sandbox, with today's code, on the thread's state of that time. Nothing is appended to the log and nothing is written to the store. The graph repeats its effects on the outside (models, tools).</p>
        <Picker thread={thread} run={run} />
        {UUID.test(thread) && UUID.test(run) && <Again key={`${thread} ${run}`} thread={thread} run={run} />}
      </div>
    </div>
  );
}

/** The thread by its id, then one of its runs. */
function Picker({ thread, run }: { thread: string; run: string }) {
  const known = UUID.test(thread);
  const runs = useLoad((signal) => (known ? call<Run[]>(at`/threads/${thread}/runs`, { query: { limit: 50 }, signal }) : Promise.resolve([])), [thread]);
  return (
    <section class="card stack" aria-label="Run">
      <label class="field">
        <span>Thread</span>
        <input class="input mono" data-filter size={40} value={thread} placeholder="id of a thread" spellcheck={false} autocomplete="off" aria-invalid={thread !== "" && !known} onChange={(event) => setQuery({ thread: event.currentTarget.value.trim(), run: null })} />
        <span class="hint">Each run of a thread links here, too.</span>
      </label>
      {runs.error && <Failure error={runs.error} again={runs.again} />}
      {known && runs.loading && !runs.value && <Loading lines={2} />}
      {known && runs.value?.length === 0 && !runs.loading && <Nothing title="This thread has no runs" />}
      {runs.value && runs.value.length > 0 && (
        <ul class="run-choice" aria-label="Runs of the thread">
          {runs.value.map((one) => (
            <li key={one.run_id}>
              <label class="row">
                <input type="radio" name="run" checked={one.run_id === run} onChange={() => setQuery({ run: one.run_id })} />
                <Id id={one.run_id} copy={false} />
                <Status of={one.status} />
                <span class="quiet"><Time at={one.created_at} /></span>
              </label>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

type Phase = "ready" | "waiting" | "running" | "over";

function Again({ thread, run }: { thread: string; run: string }) {
  const [phase, setPhase] = useState<Phase>("ready");
  const [strict, setStrict] = useState(false);
  const [steps, setSteps] = useState<ReplayStep[]>([]);
  const [outcome, setOutcome] = useState<Replayed | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const close = useRef<() => void>(() => undefined);
  const show = (now: Phase): void => {
    close.current();
    setPhase(now);
    setSteps([]);
    setOutcome(null);
    setError(null);
  };
  // what one caller sees is not for the next
  useEffect(() => () => show("ready"), [credentials.value]);

  const start = (): void => {
    show("waiting");
    let over = false;
    const fail = (failure: Error): void => {
      over = true;
      setError(failure);
      setPhase("over");
      close.current();
    };
    close.current = follow(at`/threads/${thread}/runs/${run}/replay`, {
      asked: { method: "POST", body: { strict } },
      // a replay that lost its connection was stopped: to open it once more would run the graph again
      once: true,
      onBroken: () => !over && fail(new Error("The connection broke, and the replay was stopped.")),
      onEvent: ({ event, data }) => {
        if (event === "began") setPhase("running");
        else if (event === "step") setSteps((before) => [...before, JSON.parse(data) as ReplayStep]);
        else if (event === "end") {
          over = true;
          const all = JSON.parse(data) as Replayed;
          setSteps(all.steps);
          setOutcome(all);
          setPhase("over");
        } else if (event === "refused") fail(new Error((JSON.parse(data) as { detail: string }).detail));
      },
      onRefused: (failure: ApiError) => fail(failure),
      onEnd: () => {
        if (!over) fail(new Error("The server ended the replay."));
        return false;
      },
    });
  };
  const stop = (): void => {
    close.current();
    setPhase("over");
  };
  const busy = phase === "waiting" || phase === "running";
  return (
    <>
      <div class="row wrap">
        {readOnly && <span class="quiet">This console only reads: a replay runs the graph’s code.</span>}
        {!readOnly && <Button kind="main" icon="play" disabled={busy} onClick={start}>{phase === "over" ? "Run it again" : "Run it in the sandbox"}</Button>}
        {busy && <Button icon="stop" onClick={stop}>Stop</Button>}
        {!readOnly && <label class="row"><input type="checkbox" checked={strict} disabled={busy} onChange={(event) => setStrict(event.currentTarget.checked)} /> compare generated ids too</label>}
        <span role="status">{phase === "waiting" ? "Waiting for an executor…" : phase === "running" ? "The graph runs…" : ""}</span>
      </div>
      {error && <Failure error={error} />}
      {outcome && (
        <section class="card stack" aria-label="Verdict">
          <div class="row wrap">
            <Badge tone={outcome.same ? "ok" : "bad"}>{outcome.same ? "the replay matches the recorded run" : "the replay diverged"}</Badge>
            {outcome.recorded === outcome.replayed ? <span>{`It ended with ${outcome.recorded}.`}</span> : <span>{`Recorded: ${outcome.recorded}. Replayed: ${outcome.replayed}.`}</span>}
          </div>
          <Differences of={outcome.differences} />
          {outcome.store_writes.length > 0 && <p class="quiet">{`Not written to the store: ${outcome.store_writes.slice(0, 20).join(", ")}${outcome.store_writes.length > 20 ? ` and ${outcome.store_writes.length - 20} more` : ""}`}</p>}
        </section>
      )}
      {steps.length > 0 && (
        <ol class="steps" aria-label="Steps">
          {steps.map((step, index) => (
            <li key={index} class="card">
              <div class="row wrap">
                <strong>{`Step ${step.step}${step.namespace ? ` in ${step.namespace}` : ""}`}</strong>
                <Badge tone={TONES[step.verdict]}>{step.verdict}</Badge>
                <span class="quiet">{plural(step.nodes.length, "node")}</span>
              </div>
              {step.nodes.map((node) => (
                <div key={node.name} class="node">
                  <div class="row"><span class="mono">{node.name}</span><Badge tone={TONES[node.verdict]}>{node.verdict}</Badge></div>
                  <Differences of={node.differences} />
                </div>
              ))}
              <Differences of={step.differences} />
            </li>
          ))}
        </ol>
      )}
    </>
  );
}

function Differences({ of }: { of: Difference[] }) {
  if (of.length === 0) return null;
  return (
    <dl class="differences">
      {of.slice(0, 200).map((one, index) => (
        <div key={index}>
          <dt class="mono">{one.path || "(value)"}</dt>
          <dd class="removed"><span class="visually-hidden">recorded: </span>{one.recorded ?? "(nothing)"}</dd>
          <dd class="added"><span class="visually-hidden">replayed: </span>{one.replayed ?? "(nothing)"}</dd>
        </div>
      ))}
      {of.length > 200 && <p class="quiet">{`${of.length - 200} more`}</p>}
    </dl>
  );
}
