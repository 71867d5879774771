// The records of a thread, live: which command each results from, and what else came of that command.
import { useMemo } from "preact/hooks";
import { query, setQuery, to } from "../../app/router";
import { useEscape } from "../../app/shortcuts";
import { at } from "../../api/client";
import { MOST_EVENTS, useEvents } from "../../api/events";
import { shortType } from "../../api/names";
import type { AuditEvent, Json } from "../../api/types";
import { Badge, Button, CopyButton, Failure, Loading, Nothing, PageHead } from "../../ui/basic";
import { duration, exact, shortId } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { Table, type Column } from "../../ui/table";
import { causeKey, command, summary } from "./about";

export default function EventsView({ params }: { params: Record<string, string> }) {
  const thread = params["thread"] ?? "";
  const run = query.value.get("run");
  const kind = query.value.get("kind") ?? "";
  const found = useEvents(run === null ? at`/threads/${thread}/events` : at`/threads/${thread}/runs/${run}/events`);
  const shown = useMemo(() => found.events.filter((event) => kind === "" || shortType(event.type).startsWith(kind)), [found.events, kind]);
  const kinds = useMemo(() => [...new Set(found.events.map((event) => shortType(event.type)))].sort(), [found.events]);
  const chosen = found.events.find((event) => String(event.position.offset) === query.value.get("at")) ?? null;
  const first = found.events[0]?.time ?? null;
  const columns: Column<AuditEvent>[] = [
    { key: "type", title: "Event", width: "minmax(150px, 210px)", cell: (event) => <span class={/failed|timed_out/.test(event.type) ? "mono wrong" : "mono"}>{shortType(event.type)}</span> },
    { key: "what", title: "What", width: "minmax(0, 1fr)", cell: (event) => <span class="quiet">{summary(event)}</span> },
    { key: "cause", title: "Of the command", width: "minmax(90px, 150px)", cell: (event) => <span class="mono quiet">{event.cause === null ? "worker's own" : shortType(event.cause.type ?? "command")}</span> },
    { key: "since", title: "After", width: "92px", right: true, cell: (event) => <span class="number" title={event.time === null ? "" : exact(event.time)}>{event.time === null || first === null ? "–" : `+${duration(Math.max(0, Date.parse(event.time) - Date.parse(first)))}`}</span> },
    { key: "offset", title: "Offset", width: "70px", right: true, cell: (event) => <span class="number quiet">{event.position.offset}</span> },
  ];
  // beside an open record there is no room for all of them
  const fitting = chosen === null ? columns : columns.filter((column) => column.key !== "cause" && column.key !== "offset");
  return (
    <div class="page">
      <PageHead title="Events" trail={[{ text: "Threads", href: to("threads") }, { text: shortId(thread), href: to("threads", thread) }]}>
        {found.live && <Badge tone="ok">live</Badge>}
        <CopyButton text={run === null ? `langlog log export --thread ${thread}` : `langlog log show ${run}`} label="Copy the command that shows these records">
          Command
        </CopyButton>
      </PageHead>
      <form class="filters" role="search" aria-label="Filter events" onSubmit={(event) => event.preventDefault()}>
        <label>
          Kind
          <select class="select" data-filter value={kind} onChange={(event) => setQuery({ kind: event.currentTarget.value })}>
            <option value="">any</option>
            {[...new Set([...kinds, ...(kind ? [kind] : [])])].map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        {run !== null && (
          <span class="row quiet">
            of run <a href={to("threads", thread, "runs", run)} class="mono">{shortId(run)}</a>
            <Button kind="bare" small icon="close" aria-label="All runs" onClick={() => setQuery({ run: null })} />
          </span>
        )}
        <span class="quiet push number">{shown.length.toLocaleString("en")} records{found.cut && ` (the first ${MOST_EVENTS.toLocaleString("en")})`}</span>
      </form>
      {found.error && <Failure error={found.error} />}
      {found.events.length === 0 && !found.error && <Loading lines={8} />}
      {found.events.length > 0 && shown.length === 0 && <Nothing title="No record of this kind" />}
      {shown.length > 0 && (
        <div class={`events${chosen === null ? "" : " two"}`}>
          <Table label="Events" rows={shown} columns={fitting} keyOf={(event) => `${event.position.partition}-${event.position.offset}`} hrefOf={(event) => to("threads", thread, "events", { run, kind, at: String(event.position.offset) })} rowHeight={30} />
          {chosen && <Record event={chosen} events={found.events} thread={thread} />}
        </div>
      )}
    </div>
  );
}

function Record({ event, events, thread }: { event: AuditEvent; events: readonly AuditEvent[]; thread: string }) {
  useEscape(() => setQuery({ at: null }));
  const cause = causeKey(event);
  const siblings = cause === null ? [] : events.filter((one) => causeKey(one) === cause);
  const here = (one: AuditEvent): string => to("threads", thread, "events", { ...Object.fromEntries(query.value), at: String(one.position.offset) });
  return (
    <aside class="record scroll" aria-label="Record" tabIndex={0}>
      <div class="row wrap">
        <h2 class="mono">{shortType(event.type)}</h2>
        <span class="push row">
          <CopyButton text={() => JSON.stringify(event, null, 2)} label="Copy the record as JSON">
            JSON
          </CopyButton>
          <CopyButton text={command(event, thread)} label="Copy the command that shows it">
            Command
          </CopyButton>
          <Button kind="bare" small icon="close" aria-label="Close the record" onClick={() => setQuery({ at: null })} />
        </span>
      </div>
      <dl class="facts">
        <dt>Position</dt>
        <dd class="mono">{event.position.topic} / {event.position.partition} / {event.position.offset}</dd>
        <dt>Time</dt>
        <dd class="number">{event.time === null ? "–" : exact(event.time)}</dd>
        <dt>Written by</dt>
        <dd>{event.source ?? "–"}{event.actor && `, for ${event.actor}`}</dd>
        {event.run_id && (
          <>
            <dt>Run</dt>
            <dd><a class="mono" href={to("threads", thread, "runs", event.run_id)}>{event.run_id}</a></dd>
          </>
        )}
        <dt>Caused by</dt>
        <dd>
          {event.cause === null ? (
            "no command: a worker recorded it"
          ) : (
            <>
              <span class="mono">{shortType(event.cause.type ?? "a command that is no longer in the log")}</span> at{" "}
              <a class="mono" href={to("log", { topic: "commands", key: thread, record: `commands-${event.cause.partition}-${event.cause.offset}` })}>
                commands / {event.cause.partition} / {event.cause.offset}
              </a>
            </>
          )}
        </dd>
        {siblings.length > 1 && (
          <>
            <dt>That command gave</dt>
            <dd>
              <ol>
                {siblings.map((one) => (
                  <li key={one.position.offset}>
                    {one === event ? <strong class="mono">{shortType(one.type)}</strong> : <a class="mono" href={here(one)}>{shortType(one.type)}</a>}
                  </li>
                ))}
              </ol>
            </dd>
          </>
        )}
      </dl>
      <JsonTree value={event.data as Json} open={3} />
    </aside>
  );
}
