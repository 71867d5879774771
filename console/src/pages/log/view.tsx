// The records of the log: found by topic, key, type and time, the newest first; live where the newest are shown. One of them beside.
import { useEffect, useRef, useState } from "preact/hooks";
import { query, setQuery, to } from "../../app/router";
import { useEscape } from "../../app/shortcuts";
import { at, call, comebacks, credentials, follow, since } from "../../api/client";
import { isPassing, pauseAfter } from "../../api/error";
import { useLoad } from "../../api/load";
import { originOf, type LogRecord, type RecordPage } from "../../api/operator";
import { Badge, Button, CopyButton, Failure, Loading, Nothing, PageHead } from "../../ui/basic";
import { bytes, exact, oneLine, plural } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { Table, type Column } from "../../ui/table";
import { apiQuery, causeOf, commandOf, prepended, ROWS_KEPT, toneOf, TOPICS, type Query } from "./records";

const PAGE = 200;

const COLUMNS: Column<LogRecord>[] = [
  { key: "time", title: "Time", width: "178px", cell: (record) => <span class="mono number">{record.time ? exact(record.time).slice(5) : "–"}</span> },
  { key: "type", title: "Type", width: "minmax(150px, 240px)", cell: (record) => <Type of={record.type} /> },
  { key: "key", title: "Key", width: "minmax(0, 1fr)", cell: (record) => <span class="mono clip" title={record.key}>{oneLine(record.key, 60)}</span> },
  { key: "topic", wide: true, title: "Topic", width: "minmax(0, 150px)", cell: (record) => <span class="quiet">{record.topic}</span> },
  { key: "where", wide: true, title: "Position", width: "92px", right: true, cell: (record) => <span class="mono quiet">{`${record.partition}@${record.offset}`}</span> },
  { key: "bytes", wide: true, title: "Size", width: "72px", right: true, cell: (record) => <span class="quiet number">{bytes(record.bytes)}</span> },
];

function Type({ of }: { of: string }) {
  const tone = toneOf(of);
  const text = of.replace(/\.v\d+$/, "");
  return tone === "quiet" ? <span>{text}</span> : <Badge tone={tone}>{text}</Badge>;
}

export default function Log() {
  const filters = query.value;
  const shown = filters.get("record");
  const list = useRecords(filters);
  return (
    <div class="page">
      <PageHead title="Log">
        {list.live && <Badge tone="ok">live</Badge>}
        <CopyButton text={() => commandOf(query.peek())} label="Copy the command that shows this in a terminal">Command</CopyButton>
        <Button icon="refresh" kind="bare" onClick={list.again}>Refresh</Button>
      </PageHead>
      <Filters filters={filters} wrong={list.wrong} />
      {list.error && <Failure error={list.error} again={list.again} />}
      <div class="log-split">
        {list.rows === null && !list.error && <Loading lines={8} />}
        {list.rows !== null && list.rows.length === 0 && !list.busy && (
          <Nothing title="No record fits these filters">
            <p>{`${plural(list.scanned, "record")} looked at.`}</p>
          </Nothing>
        )}
        {list.rows !== null && (list.rows.length > 0 || list.busy) && (
          <Table label="Records" rows={list.rows} columns={COLUMNS} keyOf={originOf} onOpen={(record) => setQuery({ record: originOf(record) })} onEnd={list.more} after={list.atEnd ? (list.rows.length >= ROWS_KEPT ? `The newest ${ROWS_KEPT.toLocaleString("en")} are shown. For older ones, enter a time under To.` : undefined) : list.paused ? <Button small onClick={list.onward}>{`Look further back (${plural(list.scanned, "record")} so far)`}</Button> : `Looking through the log: ${plural(list.scanned, "record")}`} rowHeight={30} />
        )}
        {shown && <RecordPane origin={shown} rows={list.rows ?? []} />}
      </div>
    </div>
  );
}

function Filters({ filters, wrong }: { filters: URLSearchParams; wrong: string | null }) {
  const text = (name: string, label: string, size: number, placeholder: string) => (
    <label>
      {label}
      <input class="input" name={name} size={size} placeholder={placeholder} value={filters.get(name) ?? ""} onChange={(event) => setQuery({ [name]: event.currentTarget.value, record: null })} spellcheck={false} autocomplete="off" aria-invalid={wrong !== null && (name === "from" || name === "to")} {...(name === "key" ? { "data-filter": true } : {})} />
    </label>
  );
  return (
    <form class="filters" role="search" aria-label="Filter records" onSubmit={(event) => event.preventDefault()}>
      <label>
        Topic
        <select class="select" name="topic" value={filters.get("topic") ?? ""} onChange={(event) => setQuery({ topic: event.currentTarget.value, record: null })}>
          <option value="">any</option>
          {TOPICS.map((topic) => (
            <option key={topic}>{topic}</option>
          ))}
        </select>
      </label>
      {text("key", "Key", 30, "id of a thread, an assistant …")}
      {text("type", "Type", 16, "run. or run.failed")}
      {text("from", "From", 12, "15m, 2h, 1d")}
      {text("to", "To", 12, "now")}
      {wrong && <span class="quiet" role="alert">{wrong}</span>}
      {filters.get("topic") === "dead-letters" && <a href={to("health")}>Retry or drop parked keys under Health</a>}
    </form>
  );
}

interface Records {
  rows: LogRecord[] | null;
  error: Error | null;
  wrong: string | null;
  live: boolean;
  busy: boolean;
  atEnd: boolean;
  /** A filter finds little: the search waits for a click after several pages without a record. */
  paused: boolean;
  scanned: number;
  more: () => void;
  onward: () => void;
  again: () => void;
}

const EMPTY_PAGES = 5;
/** Partitions are behind each other by less. */
const REPEATED_MS = 5_000;

/** Reading the pages of one search. */
interface Reading {
  busy: boolean;
  cursor: string | null;
  refusals: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  /** Records of the tail that came before the first page. */
  early: LogRecord[];
}

const reading = (): Reading => ({ busy: false, cursor: null, refusals: 0, timer: undefined, early: [] });

function useRecords(filters: URLSearchParams): Records {
  const kept = new URLSearchParams(filters);
  kept.delete("record");
  const key = kept.toString();
  const [state, setState] = useState<{ rows: LogRecord[] | null; cursor: string | null; scanned: number; empty: number; error: Error | null; busy: boolean }>({ rows: null, cursor: null, scanned: 0, empty: 0, error: null, busy: true });
  const [live, setLive] = useState(false);
  const [tailError, setTailError] = useState<Error | null>(null);
  const [tries, setTries] = useState(0);
  const latest = useRef<Reading>(reading());
  let wrong: string | null = null;
  let wanted: Query = {};
  try {
    wanted = apiQuery(kept, Date.now());
  } catch (error) {
    wrong = (error as Error).message;
  }

  async function read(cursor: string | null, signal?: AbortSignal): Promise<void> {
    const mine = latest.current;
    mine.busy = true;
    setState((before) => ({ ...before, busy: true, error: null }));
    try {
      const page = await call<RecordPage>("/operator/log/records", { query: { ...wanted, limit: PAGE, cursor }, ...(signal ? { signal } : {}) });
      if (latest.current !== mine) return;
      // the rows above it were cut meanwhile
      if (mine.cursor !== cursor) {
        setState((before) => ({ ...before, busy: false }));
        return;
      }
      mine.cursor = page.cursor;
      mine.refusals = 0;
      setState((before) => ({
        rows: cursor === null ? prepended(page.records, mine.early) : [...(before.rows ?? []), ...page.records],
        cursor: page.cursor,
        scanned: (cursor === null ? 0 : before.scanned) + page.scanned,
        empty: page.records.length > 0 ? 0 : before.empty + 1,
        error: null,
        busy: false,
      }));
    } catch (error) {
      if (latest.current !== mine || signal?.aborted) return;
      setState((before) => ({ ...before, error: error as Error, busy: false }));
      // the server answers, but its log is unavailable or all its searches are busy: read the same page again
      if (isPassing(error)) mine.timer = setTimeout(() => latest.current === mine && !signal?.aborted && void read(cursor, signal), pauseAfter(mine.refusals++));
    } finally {
      mine.busy = false;
    }
  }

  useEffect(() => {
    const breaking = new AbortController();
    latest.current = reading();
    setState({ rows: null, cursor: null, scanned: 0, empty: 0, error: null, busy: wrong === null });
    setLive(false);
    setTailError(null);
    if (wrong !== null) return undefined;
    // the tail begins before the page is read, so that nothing falls between them
    const mine = latest.current;
    const begun = Date.now();
    let last = 0;
    const close = wanted.to
      ? () => undefined
      : follow("/operator/log/stream", {
          // a tail has no ids: opened once more, it begins shortly before its last record
          asked: async () => ({ query: { ...wanted, from: last > 0 ? new Date(last - REPEATED_MS).toISOString() : await since(begun) } }),
          onOpen: () => {
            setLive(true);
            setTailError(null);
          },
          onEvent: (event) => {
            if (event.event !== "records") return;
            const records = JSON.parse(event.data) as LogRecord[];
            for (const record of records) last = Math.max(last, Date.parse(record.time ?? "") || 0);
            setState((before) => {
              if (before.rows === null) {
                mine.early = [...mine.early, ...records].slice(-ROWS_KEPT);
                return before;
              }
              const rows = prepended(before.rows, records);
              // what is below the last row is no longer the next page
              if (before.rows.length > 0 && rows.at(-1) !== before.rows.at(-1)) mine.cursor = null;
              return { ...before, rows, cursor: mine.cursor };
            });
          },
          onWaiting: (error) => {
            setLive(false);
            setTailError(error);
          },
          onRefused: (error) => {
            setLive(false);
            if (error.status !== 403) setTailError(error);
          },
          onEnd: () => true,
        });
    void read(null, breaking.signal);
    return () => {
      breaking.abort();
      clearTimeout(latest.current.timer);
      close();
    };
  }, [key, tries, comebacks.value, credentials.value]);

  const more = (): void => {
    if (!latest.current.busy && latest.current.cursor !== null) void read(latest.current.cursor);
  };
  const paused = state.cursor !== null && state.empty >= EMPTY_PAGES;
  // a page may be empty: the search continues by itself for a while
  useEffect(() => {
    if (!state.busy && state.cursor !== null && state.empty > 0 && state.empty < EMPTY_PAGES) more();
    if (!state.busy && state.cursor !== null && state.rows?.length === 0 && state.empty === 0) more();
  }, [state.busy, state.cursor, state.empty]);
  return {
    rows: state.rows,
    error: state.error ?? tailError,
    wrong,
    live,
    busy: state.busy || (state.cursor !== null && state.rows?.length === 0),
    atEnd: state.cursor === null && !state.busy,
    paused,
    scanned: state.scanned,
    more: () => state.empty === 0 && more(),
    onward: () => {
      setState((before) => ({ ...before, empty: 0 }));
      more();
    },
    again: () => setTries((n) => n + 1),
  };
}

/** One record: its place, headers, cause and body. */
function RecordPane({ origin, rows }: { origin: string; rows: LogRecord[] }) {
  useEscape(() => setQuery({ record: null }));
  const [, topic = "", partition = "", offset = ""] = /^(.*)-(\d+)-(\d+)$/.exec(origin) ?? [];
  const known = rows.find((row) => originOf(row) === origin);
  const whole = known !== undefined && known.omitted !== "large" ? known : undefined;
  const record = useLoad((signal) => (whole ? Promise.resolve(whole) : call<LogRecord>(at`/operator/log/records/${topic}/${partition}/${offset}`, { signal })), [origin, whole !== undefined]);
  const one = record.value;
  const cause = one && causeOf(one);
  const thread = one && (one.topic === "run-events" || one.topic === "commands") && /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(one.key) ? one.key : null;
  const run = one && typeof one.data === "object" && one.data !== null && !Array.isArray(one.data) && typeof one.data["run_id"] === "string" ? one.data["run_id"] : null;
  return (
    <aside class="record-pane" aria-label="Record">
      <div class="row">
        <h2 class="clip mono">{origin}</h2>
        <span class="push row">
          {one && <CopyButton text={() => JSON.stringify(one, null, 2)} label="Copy the record as JSON">JSON</CopyButton>}
          <Button kind="bare" small icon="close" aria-label="Close the record" onClick={() => setQuery({ record: null })} />
        </span>
      </div>
      {record.error && <Failure error={record.error} again={record.again} />}
      {!one && !record.error && <Loading />}
      {one && (
        <>
          <dl class="facts">
            <dt>Type</dt><dd><Type of={one.type} /></dd>
            <dt>Key</dt><dd class="mono">{one.key} <a href={to("log", { key: one.key })}>all of this key</a></dd>
            <dt>Appended</dt><dd class="number">{one.time ? exact(one.time) : "–"}</dd>
            <dt>Size</dt><dd class="number">{bytes(one.bytes)}</dd>
            {cause && (
              <>
                <dt>Cause</dt>
                <dd><a class="mono" href={to("log", { ...Object.fromEntries(query.value), record: `${cause.topic}-${cause.partition}-${cause.offset}` })}>{`${cause.topic}-${cause.partition}-${cause.offset}`}</a></dd>
              </>
            )}
            {thread && <><dt>Thread</dt><dd><a href={to("threads", thread)}>Open the thread</a>{run && <> · <a href={to("threads", thread, "runs", run)}>Open the run</a></>}</dd></>}
          </dl>
          <JsonTree value={one.headers} open={0} name="headers" />
          {one.omitted === "erased" ? <p class="quiet">The body was erased with its thread.</p> : <JsonTree value={one.data} open={3} name="data" />}
        </>
      )}
    </aside>
  );
}
