// The drawing of an assistant's graph, with what its nodes did: in one run, live, or over its last runs.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { query, setQuery, to } from "../../app/router";
import { isUnknown, titleOf, unknownOr, useAssistants } from "../../api/assistants";
import { useChanges } from "../../api/changes";
import { ApiError, at, call } from "../../api/client";
import { useLoad } from "../../api/load";
import type { AuditEvent, Run } from "../../api/types";
import { Badge, Failure, Id, Loading, Nothing, PageHead, Status, Time } from "../../ui/basic";
import { duration, plural, shortId } from "../../ui/format";
import { useTimeline } from "../run/data";
import { timelineOf, type Timeline } from "../run/timeline";
import { place, type Drawing, type Placed } from "./layout";
import { middle, statsOf, type NodeStats } from "./stats";

const RUNS = 12;
const PAUSE_MS = 1_000;
/** Runs that are followed while they run. Each takes a stream, and a browser has six connections to a server. */
const FOLLOWED = 2;

export default function GraphPage() {
  const filters = query.value;
  const assistants = useAssistants();
  const assistant = filters.get("assistant") ?? assistants.value?.[0]?.assistant_id ?? "";
  const unfolded = filters.get("folded") === null;
  const drawing = useLoad((signal) => (assistant ? call<Drawing>(at`/assistants/${assistant}/graph`, { query: { xray: unfolded }, signal }) : Promise.resolve(null)), [assistant, unfolded]);
  const placed = useMemo(() => (drawing.value ? place(drawing.value) : null), [drawing.value]);
  const [thread, run] = [filters.get("thread"), filters.get("run")];
  return (
    <div class="page">
      <PageHead title="Graph">{thread && run && <a href={to("threads", thread, "runs", run)}>The run's timeline</a>}</PageHead>
      <form class="filters" aria-label="What is drawn" onSubmit={(event) => event.preventDefault()}>
        <label>
          Assistant
          <select class="select" value={assistant} onChange={(event) => setQuery({ assistant: event.currentTarget.value, thread: null, run: null })}>
            {isUnknown(drawing.error) && <option value={assistant}>choose one</option>}
            {assistants.value?.map((one) => (
              <option key={one.assistant_id} value={one.assistant_id}>{titleOf(one)}</option>
            ))}
          </select>
        </label>
        <label class="row"><input type="checkbox" checked={unfolded} onChange={(event) => setQuery({ folded: event.currentTarget.checked ? null : "yes" })} /> unfold subgraphs</label>
      </form>
      {assistants.error && <Failure error={assistants.error} again={assistants.again} />}
      {drawing.error && <Failure error={unknownOr(drawing.error, assistant)} again={drawing.again} />}
      {drawing.loading && !drawing.value && <Loading />}
      {assistants.value?.length === 0 && <Nothing title="No assistant yet" />}
      {placed && (thread && run ? <OfRun key={run} placed={placed} thread={thread} run={run} assistant={assistant} /> : <OfRuns key={assistant} placed={placed} assistant={assistant} />)}
    </div>
  );
}

function OfRun({ placed, thread, run, assistant }: { placed: Placed; thread: string; run: string; assistant: string }) {
  const { timeline, error, live } = useTimeline(thread, run);
  const stats = useMemo(() => statsOf([timeline]), [timeline]);
  return (
    <Split placed={placed} stats={stats}>
      <div class="row wrap"><strong>One run</strong><Id id={run} href={to("threads", thread, "runs", run)} />{live && timeline?.end === null && <Badge tone="busy">live</Badge>}</div>
      {error && <Failure error={error} />}
      <a href={to("graph", { assistant })}>Its last runs combined</a>
    </Split>
  );
}

/** Follows a run that has not ended; draws nothing. */
function Followed({ run, tell }: { run: Run; tell: (run: string, timeline: Timeline | null) => void }) {
  const { timeline } = useTimeline(run.thread_id, run.run_id);
  useEffect(() => tell(run.run_id, timeline), [timeline]);
  useEffect(() => () => tell(run.run_id, null), []);
  return null;
}

/** The assistant's last runs together, live where one is running; read again when one of them changes. */
function OfRuns({ placed, assistant }: { placed: Placed; assistant: string }) {
  const found = useLoad(
    async (signal) => {
      const runs = await call<Run[]>("/runs/search", { body: { assistant_id: assistant, limit: RUNS }, signal });
      const timelines = await Promise.all(
        runs.map(async (run): Promise<[string, Timeline | null]> => {
          const path = at`/threads/${run.thread_id}/runs/${run.run_id}/events`;
          try {
            return [run.run_id, timelineOf((await call<{ events: AuditEvent[] }>(path, { query: { limit: 1000 }, signal })).events)];
          } catch (error) {
            if (error instanceof ApiError && error.status === 404) return [run.run_id, null]; // gone with its thread since then
            throw error;
          }
        }),
      );
      return { runs, timelines: new Map(timelines) };
    },
    [assistant],
  );
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  useChanges((changes) => {
    if (!changes.stale && !changes.runs?.some((run) => run.assistant_id === assistant)) return;
    timer.current ??= setTimeout(() => {
      timer.current = null;
      found.again();
    }, PAUSE_MS);
  }, [assistant]);
  useEffect(() => () => void (timer.current !== null && clearTimeout(timer.current)), []);
  const [followed, setFollowed] = useState<ReadonlyMap<string, Timeline>>(new Map());
  const tell = (run: string, timeline: Timeline | null): void =>
    setFollowed((before) => {
      const next = new Map(before);
      if (timeline === null) next.delete(run);
      else next.set(run, timeline);
      return next;
    });
  const stats = useMemo(() => statsOf([...(found.value?.timelines ?? [])].map(([run, timeline]) => followed.get(run) ?? timeline)), [found.value, followed]);
  const going = found.value?.runs.filter((run) => run.status === "running" || run.status === "pending").slice(0, FOLLOWED) ?? [];
  return (
    <Split placed={placed} stats={stats}>
      {going.map((run) => <Followed key={run.run_id} run={run} tell={tell} />)}
      <strong>{!found.value ? "Last runs" : found.value.runs.length === 0 ? "No run yet" : found.value.runs.length === 1 ? "Its only run" : `Last ${plural(found.value.runs.length, "run")}`}</strong>
      {found.error && <Failure error={found.error} again={found.again} />}
      {found.value?.runs.length === 0 && <p class="quiet">It has not run, or its runs were deleted with their threads.</p>}
      <ul class="graph-runs" aria-label="Runs">
        {found.value?.runs.map((run) => (
          <li key={run.run_id} class="row"><Status of={run.status} /><a class="mono" href={to("graph", { assistant, thread: run.thread_id, run: run.run_id })}>{shortId(run.run_id)}</a><span class="push quiet"><Time at={run.created_at} /></span></li>
        ))}
      </ul>
    </Split>
  );
}

function Split({ placed, stats, children }: { placed: Placed; stats: Map<string, NodeStats>; children: preact.ComponentChildren }) {
  const [chosen, setChosen] = useState<string | null>(null);
  const one = chosen === null ? undefined : stats.get(chosen);
  return (
    <div class="graph-split">
      <div class="graph-canvas scroll" tabIndex={0} role="region" aria-label="Drawing"><Picture placed={placed} stats={stats} chosen={chosen} choose={setChosen} /></div>
      <aside class="graph-side stack" aria-label="Runs of the graph">
        {placed.omitted > 0 && <p class="quiet">{`The graph is too large to draw whole: ${plural(placed.omitted, "node or edge", "nodes and edges")} left out.`}</p>}
        {children}
        {chosen !== null && (
          <div class="card stack" role="status">
            <strong class="mono">{chosen}</strong>
            {one ? (
              <dl class="facts">
                <dt>Ran</dt><dd class="number">{one.count}</dd>
                <dt>Failed</dt><dd class="number">{one.failures}</dd>
                <dt>Waited for an answer</dt><dd class="number">{one.waits}</dd>
                <dt>Middle duration</dt><dd class="number">{middle(one) === null ? "–" : duration(middle(one) as number)}</dd>
                <dt>Longest</dt><dd class="number">{one.durations.length === 0 ? "–" : duration(one.durations.at(-1) as number)}</dd>
              </dl>
            ) : <p class="quiet">It did not run here.</p>}
          </div>
        )}
      </aside>
    </div>
  );
}

function Picture({ placed, stats, chosen, choose }: { placed: Placed; stats: Map<string, NodeStats>; chosen: string | null; choose: (id: string) => void }) {
  return (
    <svg class="graph-picture" width={placed.width} height={placed.height} viewBox={`0 0 ${placed.width} ${placed.height}`} role="group" aria-label="Graph">
      <defs>
        <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" /></marker>
      </defs>
      {placed.groups.map((group) => (
        <g key={group.id} class="group"><rect x={group.x} y={group.y} width={group.width} height={group.height} rx={10} /><text x={group.x + 10} y={group.y + 15}>{group.label}</text></g>
      ))}
      {placed.edges.map((edge) => (
        <g key={edge.id}><path class={`edge${edge.conditional ? " conditional" : ""}`} d={edge.path} marker-end="url(#arrow)" />{edge.label && <text class="edge-label" x={edge.x} y={edge.y}>{edge.label}</text>}</g>
      ))}
      {placed.nodes.map((node) => {
        const one = stats.get(node.id);
        const state = one === undefined ? "" : one.running > 0 ? " running" : one.failures > 0 ? " failed" : " ran";
        const time = one && middle(one);
        return (
          <g key={node.id} class={`node${state}${chosen === node.id ? " chosen" : ""}`} role="button" tabIndex={0} aria-pressed={chosen === node.id} onClick={() => choose(node.id)} onKeyDown={(event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), choose(node.id))}>
            <rect x={node.x} y={node.y} width={node.width} height={node.height} rx={node.id.startsWith("__") ? node.height / 2 : 8} />
            <text x={node.x + node.width / 2} y={node.y + (one ? 18 : node.height / 2 + 4)}>{node.label.length > 28 ? `${node.label.slice(0, 27)}…` : node.label}</text>
            {one && <text class="small" x={node.x + node.width / 2} y={node.y + 34}>{`${one.count}×${time == null ? "" : ` ${duration(time)}`}${one.failures > 0 ? ` ${one.failures} failed` : ""}${one.running > 0 ? " runs now" : ""}`}</text>}
          </g>
        );
      })}
    </svg>
  );
}
