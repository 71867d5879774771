// Answers that were given: what, by whom, to which question. Runs that resume a thread are answers; their first events tell who and where.
import { useEffect, useRef, useState } from "preact/hooks";
import { to } from "../../app/router";
import { concerns, useChanges } from "../../api/changes";
import { at, call, callWithHeaders } from "../../api/client";
import { useLoad } from "../../api/load";
import { usePages } from "../../api/pages";
import type { AuditEvent, Run, State } from "../../api/types";
import { Button, Failure, Id, Loading, Nothing, Status, Time } from "../../ui/basic";
import { excerpt, plural } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { answerOf, resumedAt } from "./answers";
import { questionOf } from "./requests";

/** Runs that are read at once, of which some are answers. */
const RUNS = 50;
const PAUSE_MS = 1_000;
/** Events of a run that are read for who created it and the checkpoint that it resumed. */
const FIRST_EVENTS = 5;

export function Answered({ graph }: { graph: string }) {
  const [looked, setLooked] = useState(0);
  const found = usePages<Run>(
    async (after, signal) => {
      const select = ["run_id", "thread_id", "assistant_id", "status", "created_at", "metadata", "kwargs"];
      const page = await callWithHeaders<Run[]>("/runs/search", { body: { limit: RUNS, select, ...(graph ? { graph_id: graph } : {}), ...(after ? { after } : {}) }, signal });
      setLooked((before) => (after === null ? 0 : before) + page.body.length);
      return { rows: page.body.filter((run) => answerOf(run) !== undefined), next: page.headers.get("x-pagination-after") };
    },
    (run) => run.run_id,
    [graph],
  );
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  // the newest again, unless the reader has looked further back
  useChanges((changes) => {
    if (!concerns(changes, "run") || looked > RUNS) return;
    timer.current ??= setTimeout(() => {
      timer.current = null;
      found.again();
    }, PAUSE_MS);
  }, [graph, looked > RUNS]);
  useEffect(() => () => void (timer.current !== null && clearTimeout(timer.current)), []);
  const rows = found.rows;
  return (
    <div class="page-body stack">
      {found.error && <Failure error={found.error} again={found.again} />}
      {rows === null && !found.error && <Loading lines={6} />}
      {rows?.length === 0 && <Nothing title="No answer yet"><p>{`None of the last ${plural(looked, "run")} answers a question.`}</p></Nothing>}
      {rows !== null && rows.length > 0 && <ol class="answered" aria-label="Answers">{rows.map((run) => <One key={run.run_id} run={run} />)}</ol>}
      {rows !== null && !found.atEnd && <div class="row"><Button small disabled={found.loading} onClick={found.more}>Look further back</Button><span class="quiet number">{`of ${plural(looked, "run")} so far`}</span></div>}
    </div>
  );
}

function One({ run }: { run: Run }) {
  const about = useLoad((signal) => call<{ events: AuditEvent[] }>(at`/threads/${run.thread_id}/runs/${run.run_id}/events`, { query: { limit: FIRST_EVENTS }, signal }), [run.run_id]);
  const [open, setOpen] = useState(false);
  const answer = answerOf(run);
  const actor = about.value?.events[0]?.actor;
  const checkpoint = resumedAt(about.value?.events ?? []);
  return (
    <li class="card stack">
      <div class="row wrap">
        <span>{about.value ? <strong title={actor ? undefined : "The log names no caller: nobody had to say who they are"}>{actor ?? "Somebody"}</strong> : <span class="quiet">…</span>} answered</span>
        <Time at={run.created_at} />
        <span class="quiet">{String(run.metadata["graph_id"] ?? "")}</span>
        <span class="push row"><Status of={run.status} /><span class="quiet">run</span> <Id id={run.run_id} href={to("threads", run.thread_id, "runs", run.run_id)} /></span>
      </div>
      {typeof answer === "object" && answer !== null ? <JsonTree value={answer} open={3} /> : <p class="given">{excerpt(answer ?? null, 2_000)}</p>}
      {checkpoint !== null && (
        <details onToggle={(event) => setOpen(event.currentTarget.open)}>
          <summary>What was asked</summary>
          {open && <Asked thread={run.thread_id} checkpoint={checkpoint} />}
        </details>
      )}
    </li>
  );
}

/** The questions that were open at a checkpoint. */
function Asked({ thread, checkpoint }: { thread: string; checkpoint: string }) {
  const state = useLoad((signal) => call<State>(at`/threads/${thread}/state/${checkpoint}`, { signal }), [thread, checkpoint]);
  if (state.error) return <Failure error={state.error} again={state.again} />;
  if (state.value === undefined) return <Loading lines={1} />;
  const asked = state.value.tasks.flatMap((task) => task.interrupts);
  if (asked.length === 0) return <p class="quiet">The state no longer holds the question.</p>;
  return <>{asked.map((one) => <div key={one.id}><p class="asked">{questionOf(one.value).slice(0, 4_000)}</p>{typeof one.value === "object" && <JsonTree value={one.value} open={2} />}</div>)}</>;
}
