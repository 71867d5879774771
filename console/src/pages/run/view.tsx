// One run from its events: waits, attempts and nodes as bars on one axis, live while it is in flight. `?bar=` is the one that is open.
import { useEffect, useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery, to } from "../../app/router";
import { useChanges } from "../../api/changes";
import { at, call } from "../../api/client";
import { MOST_EVENTS } from "../../api/events";
import { useLoad } from "../../api/load";
import { shortType } from "../../api/names";
import type { Explanation } from "../../api/operator";
import type { Json, Run, State } from "../../api/types";
import { ActionButton, Badge, Button, CopyButton, Failure, Id, Loading, PageHead, Status } from "../../ui/basic";
import { duration, exact, oneLine, shortId } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { useTimeline } from "./data";
import { ticks, type Bar, type Failure as Failed, type Timeline } from "./timeline";

const REFRESH_MS = 200;
const MARKS = 7;
const SHOWN_BARS = 400;

export default function RunView({ params }: { params: Record<string, string> }) {
  const thread = params["thread"] ?? "";
  const id = params["run"] ?? "";
  const { timeline, error, live, cut } = useTimeline(thread, id);
  const run = useLoad((signal) => call<Run>(at`/threads/${thread}/runs/${id}`, { signal }), [thread, id], [timeline?.end, timeline?.bars.length === 0, cut]);
  // its end is not among the events that are held: the run itself says so
  const isOver = cut && run.value !== undefined && run.value.status !== "pending" && run.value.status !== "running";
  const going = timeline !== null && timeline.end === null && !isOver;
  const now = useNow(going);
  const status = run.value?.status;
  return (
    <div class="page">
      <PageHead title={<span>Run <span class="mono">{shortId(id)}</span></span>} trail={[{ text: "Threads", href: to("threads") }, { text: shortId(thread), href: to("threads", thread) }]}>
        {status && <Status of={going && status === "pending" ? "running" : status} />}
        {going && live && <Badge tone="ok">live</Badge>}
        <Id id={id} />
        <CopyButton text={`langlog log show ${id}`} label="Copy the command that shows this run">
          Command
        </CopyButton>
        <a class="button" href={to("threads", thread, "events", { run: id })}>
          Events
        </a>
        {run.value && (
          <a class="button" href={to("graph", { assistant: run.value.assistant_id, thread, run: id })}>
            Graph
          </a>
        )}
        <a class="button" href={to("replay", { thread, run: id })}>
          Replay
        </a>
        {going && !readOnly && (
          <ActionButton kind="danger" icon="stop" act={() => call(at`/threads/${thread}/runs/${id}/cancel`, { method: "POST" })} done="The run is being cancelled.">
            Cancel
          </ActionButton>
        )}
      </PageHead>
      {error && <Failure error={error} />}
      {cut && <p class="quiet">The timeline is of the first {MOST_EVENTS.toLocaleString("en")} events.</p>}
      {cut && going && <Unheard thread={thread} run={id} again={run.again} />}
      {timeline === null && !error && <Loading lines={8} />}
      {timeline !== null && (
        <div class="page-body timeline-page" tabIndex={0} role="region" aria-label="Timeline">
          {going && <Why key={id} thread={thread} run={id} bars={timeline.bars.length} />}
          {timeline.failure && <WhatFailed thread={thread} failure={timeline.failure} />}
          <Bars timeline={timeline} now={now} />
          <Details thread={thread} bar={timeline.bars.find((bar) => bar.id === query.value.get("bar")) ?? null} />
        </div>
      )}
    </div>
  );
}

/** Reads a run again whose events are no longer followed: nothing else tells of its end. */
function Unheard({ thread, run, again }: { thread: string; run: string; again: () => void }) {
  useChanges((changes) => {
    if (changes.stale?.includes("runs") || changes.runs?.some((one) => one.run_id === run) || changes.deleted?.some(({ id }) => id === run || id === thread)) again();
  }, [thread, run]);
  return null;
}

/** Current time, while a bar is active. */
function useNow(going: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!going) return;
    const timer = setInterval(() => setNow(Date.now()), REFRESH_MS);
    return () => clearInterval(timer);
  }, [going]);
  return now;
}

const STILL_MS = 3_000;

/** Why a run does not move, once nothing has happened for a while; read again when something happens. */
function Why({ thread, run, bars }: { thread: string; run: string; bars: number }) {
  const [still, setStill] = useState(false);
  useEffect(() => {
    setStill(false);
    const timer = setTimeout(() => setStill(true), STILL_MS);
    return () => clearTimeout(timer);
  }, [bars]);
  const why = useLoad((signal) => (still ? call<Explanation>(at`/threads/${thread}/runs/${run}/why`, { signal }) : Promise.resolve(null)), [thread, run, still]);
  if (!still) return null;
  return (
    <section class="card stack" aria-label="Why it does not move">
      <div class="row">
        <h2>Why it does not move</h2>
        <Button small icon="refresh" class="push" onClick={why.again}>
          Look again
        </Button>
      </div>
      {why.error && <Failure error={why.error} again={why.again} />}
      {!why.value && why.loading && <Loading lines={2} />}
      {why.value && (
        <ul>
          {why.value.lines.slice(0, 50).map((line, index) => (
            <li key={index}>{oneLine(line, 600)}</li>
          ))}
        </ul>
      )}
      {why.value?.waits_for_run && <a href={to("threads", thread, "runs", why.value.waits_for_run)}>The run that it waits for</a>}
    </section>
  );
}

function WhatFailed({ thread, failure }: { thread: string; failure: Failed }) {
  return (
    <section class="what-failed" aria-label="Failure">
      <p>
        <strong>{failure.node === null ? "The run" : <>Node <span class="mono">{failure.node}</span></>} failed:</strong> <strong class="mono">{failure.error}</strong> {oneLine(failure.message, 2000)}
      </p>
      <div class="row wrap">
        {failure.checkpoint && (
          <details>
            <summary>Its input</summary>
            <Before thread={thread} checkpoint={failure.checkpoint} />
          </details>
        )}
        {failure.from && (
          <span class="row push">
            <a class="button" href={to("threads", thread, { checkpoint: failure.from })}>
              State before it
            </a>
            <a class="button main" href={to("threads", thread, "travel", { checkpoint: failure.from })}>
              Run again from there
            </a>
          </span>
        )}
      </div>
    </section>
  );
}

/** The state that a node began with. */
function Before({ thread, checkpoint }: { thread: string; checkpoint: { namespace: string; id: string } }) {
  const state = useLoad(
    (signal) => call<State>(at`/threads/${thread}/state/checkpoint`, { body: { checkpoint: { checkpoint_id: checkpoint.id, checkpoint_ns: checkpoint.namespace } }, signal }),
    [thread, checkpoint.id, checkpoint.namespace],
  );
  if (state.error) return <Failure error={state.error} again={state.again} />;
  if (state.value === undefined) return <Loading lines={3} />;
  return <JsonTree value={state.value.values as Json} open={2} />;
}

function Bars({ timeline, now }: { timeline: Timeline; now: number }) {
  const [all, setAll] = useState(false);
  const end = timeline.end ?? Math.max(now, ...timeline.bars.map((bar) => bar.end ?? bar.start));
  const last = Math.max(end, ...timeline.bars.map((bar) => bar.end ?? 0));
  const total = Math.max(last - timeline.start, 0.001);
  const share = (ms: number): string => `${((ms - timeline.start) / total) * 100}%`;
  const chosen = query.value.get("bar");
  const shown = all ? timeline.bars : timeline.bars.slice(0, SHOWN_BARS);
  return (
    <section class="bars" aria-label="Timeline">
      <div class="axis" aria-hidden="true">
        <span class="label quiet">
          {exact(new Date(timeline.start).toISOString())} · {duration(total)}
        </span>
        <span class="track">
          {ticks(total, MARKS).map((mark) => (
            <i key={mark} style={{ left: share(timeline.start + mark) }}>
              {mark === 0 ? "0" : duration(mark)}
            </i>
          ))}
        </span>
      </div>
      <ol>
        {shown.map((bar) => {
          const until = bar.end ?? Math.max(now, bar.start);
          const length = until - bar.start;
          return (
            <li key={bar.id}>
              <button type="button" class={`bar-row ${bar.tone}`} aria-expanded={chosen === bar.id} onClick={() => setQuery({ bar: chosen === bar.id ? null : bar.id })}>
                <span class="label clip" style={{ paddingLeft: `${bar.depth * 14}px` }}>
                  {bar.label} {bar.note && <span class="quiet">{bar.note}</span>}
                </span>
                <span class="track">
                  <i class={`bar ${bar.tone}${bar.end === null ? " open" : ""}`} style={{ left: share(bar.start), width: `max(3px, ${(length / total) * 100}%)` }} />
                  <span class={`took number${isInside((bar.start - timeline.start) / total, (until - timeline.start) / total) ? " inside" : ""}`} style={placeOf((bar.start - timeline.start) / total, (until - timeline.start) / total)}>
                    {bar.tone === "gap" ? `waited ${duration(length)}` : length > 0 ? duration(length) : ""}
                  </span>
                </span>
              </button>
            </li>
          );
        })}
      </ol>
      {shown.length < timeline.bars.length && (
        <button type="button" class="button small" onClick={() => setAll(true)}>
          Show all {timeline.bars.length.toLocaleString("en")}
        </button>
      )}
    </section>
  );
}

/** There is no room for a bar's duration, neither after it nor before it. */
const isInside = (start: number, end: number): boolean => end >= 0.88 && start <= 0.12;

/** Place of a bar's duration: after the bar, or before it at the end of the axis, or else inside. */
function placeOf(start: number, end: number): { left: string } | { right: string } {
  if (end < 0.88) return { left: `calc(${end * 100}% + 6px)` };
  if (!isInside(start, end)) return { right: `calc(${100 - start * 100}% + 6px)` };
  return { left: `calc(${start * 100}% + 6px)` };
}

function Details({ thread, bar }: { thread: string; bar: Bar | null }) {
  if (bar === null) return <p class="quiet">Open a bar to see its records, and the state that its node began with.</p>;
  return (
    <section class="card stack" aria-label={`About ${bar.label}`}>
      <div class="row wrap">
        <h2>{bar.label}</h2>
        <span class="quiet">{bar.note}</span>
        {bar.checkpoint && bar.checkpoint.namespace === "" && (
          <span class="push row">
            <a class="button small" href={to("threads", thread, { checkpoint: bar.checkpoint.id })}>
              State before it
            </a>
            <a class="button small" href={to("threads", thread, "travel", { checkpoint: bar.checkpoint.id })}>
              Go on from here
            </a>
          </span>
        )}
      </div>
      <div class="details-two">
        {bar.checkpoint && (
          <div>
            <h3>State at its start</h3>
            <Before key={bar.checkpoint.id} thread={thread} checkpoint={bar.checkpoint} />
          </div>
        )}
        <div>
          <h3>Its records</h3>
          {bar.events.slice(0, 50).map((event) => (
            <details key={event.position.offset}>
              <summary>
                <span class="mono">{shortType(event.type)}</span>
              </summary>
              <p>
                <a href={to("threads", thread, "events", { at: String(event.position.offset) })}>Record {event.position.offset} among the events</a>
              </p>
              <JsonTree value={event.data as Json} open={2} />
            </details>
          ))}
        </div>
      </div>
    </section>
  );
}
