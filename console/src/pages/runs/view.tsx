// The runs of all threads, live, and what has failed among them to be run again: one, those that are chosen, or all that fit the filters.
import { useEffect, useRef, useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery, to } from "../../app/router";
import { titleOf, useAssistants } from "../../api/assistants";
import { feed, useChanges } from "../../api/changes";
import { call, callWithHeaders } from "../../api/client";
import { usePages } from "../../api/pages";
import { Reading } from "../../api/reading";
import type { Run } from "../../api/types";
import { Badge, Button, Failure, Loading, Nothing, PageHead, Status, Time } from "../../ui/basic";
import { Dialog } from "../../ui/dialog";
import { duration, oneLine, plural, shortId } from "../../ui/format";
import { Table, type Column } from "../../ui/table";
import { AT_ONCE, canBeRetried, chunks, FAILED, HOURS, refusals, RETRIED_MOST, searchBody, type Outcome } from "./retry";

const PAGE = 100;
const LOOK_PAUSE_MS = 400;
const SELECT = ["run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status", "metadata"];
const STATUSES: [string, string][] = [["", "any"], ["failed", "failed"], ["moving", "pending or running"], ["pending", "pending"], ["running", "running"], ["success", "success"], ["error", "error"], ["timeout", "timeout"], ["interrupted", "interrupted"]];

const over = (run: Run): boolean => run.status !== "pending" && run.status !== "running";

export default function Runs() {
  const filters = query.value;
  const key = filters.toString();
  const assistants = useAssistants();
  const list = usePages<Run>(
    async (after, signal) => {
      const { body, headers } = await callWithHeaders<Run[]>("/runs/search", { body: { ...searchBody(filters, Date.now()), select: SELECT, limit: PAGE, ...(after === null ? {} : { after }) }, signal });
      return { rows: body, next: headers.get("x-pagination-after") };
    },
    (run) => run.run_id,
    [key],
  );
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [asking, setAsking] = useState<"chosen" | "all" | null>(null);
  useEffect(() => setChosen(new Set()), [key]);
  const [newer, setNewer] = useState(false);
  useEffect(() => setNewer(false), [key, list.rows === null]);
  const newest = async (signal: AbortSignal): Promise<string | undefined> => {
    const found = await call<Run[]>("/runs/search", { body: { ...searchBody(filters, Date.now()), select: ["run_id"], limit: 1 }, signal });
    return found[0]?.run_id;
  };
  useLive(list.rows, list.change, list.again, newest, () => setNewer(true), [key]);
  const names = new Map(assistants.value?.map((one) => [one.assistant_id, titleOf(one)]));
  const rows = list.rows ?? [];
  const picked = rows.filter((run) => chosen.has(run.run_id) && canBeRetried(run));
  const onlyFailed = ["failed", ...FAILED].includes(filters.get("status") ?? "");
  const columns: Column<Run>[] = [
    ...(readOnly ? [] : [{
      key: "choose", title: "", width: "22px", own: true,
      cell: (run: Run) => canBeRetried(run) && (
        <input type="checkbox" aria-label={`Choose run ${run.run_id}`} checked={chosen.has(run.run_id)} onChange={(event) => {
          const next = new Set(chosen);
          if (event.currentTarget.checked) next.add(run.run_id);
          else next.delete(run.run_id);
          setChosen(next);
        }} />
      ),
    }]),
    { key: "run", title: "Run", width: "minmax(0, 0.7fr)", cell: (run) => <span class="mono" title={run.run_id}>{shortId(run.run_id)}</span> },
    { key: "status", title: "Status", width: "104px", cell: (run) => <Status of={run.status} /> },
    { key: "assistant", title: "Assistant", width: "minmax(0, 1fr)", cell: (run) => <span>{oneLine(names.get(run.assistant_id) ?? String(run.metadata["graph_id"] ?? shortId(run.assistant_id)), 60)}</span> },
    { key: "thread", title: "Thread", wide: true, own: true, width: "minmax(0, 0.7fr)", cell: (run) => <a class="mono" href={to("threads", run.thread_id)} title={run.thread_id}>{shortId(run.thread_id)}</a> },
    { key: "from", title: "From", wide: true, width: "minmax(0, 0.5fr)", cell: (run) => <span class="quiet">{run.metadata["cron_id"] ? "a cron" : run.metadata["retry_of"] ? "a retry" : ""}</span> },
    { key: "took", title: "Took", wide: true, width: "84px", right: true, cell: (run) => <span class="quiet number">{over(run) ? duration(Date.parse(run.updated_at) - Date.parse(run.created_at)) : ""}</span> },
    { key: "created", title: "Created", width: "96px", right: true, cell: (run) => <Time at={run.created_at} /> },
  ];
  return (
    <div class="page">
      <PageHead title="Runs">
        {feed.value === "live" && <Badge tone="ok">live</Badge>}
        {!readOnly && picked.length > 0 && <Button icon="replay" kind="main" onClick={() => setAsking("chosen")}>{`Run ${plural(picked.length, "chosen run")} again`}</Button>}
        {!readOnly && onlyFailed && picked.length === 0 && rows.length > 0 && <Button icon="replay" onClick={() => setAsking("all")}>Run all of these again</Button>}
        <Button icon="refresh" kind="bare" onClick={list.again}>Refresh</Button>
      </PageHead>
      <Filters filters={filters} graphs={[...new Set(assistants.value?.map((one) => one.graph_id))].sort()} assistants={assistants.value?.map((one) => ({ id: one.assistant_id, title: titleOf(one) })) ?? []} />
      {list.error && <Failure error={list.error} again={list.again} />}
      {list.rows === null && !list.error && <Loading lines={8} />}
      {list.rows?.length === 0 && (
        filters.size > 0
          ? <Nothing title="No run fits these filters"><Button onClick={() => setQuery(Object.fromEntries([...filters.keys()].map((name) => [name, null])))}>Clear the filters</Button></Nothing>
          : <Nothing title="No run yet"><p>Runs of all threads are listed here. <a href={to("try")}>Try a graph</a>.</p></Nothing>
      )}
      {rows.length > 0 && (
        <div style={{ position: "relative", flex: 1, minHeight: 0, display: "flex" }}>
          {newer && (
            <Button class="pill" small onClick={() => {
              document.querySelector(".table .rows")?.scrollTo({ top: 0 });
              setNewer(false);
              list.again();
            }}>
              Newer runs above
            </Button>
          )}
          <Table label="Runs" rows={rows} columns={columns} keyOf={(run) => run.run_id} hrefOf={(run) => to("threads", run.thread_id, "runs", run.run_id)} onEnd={list.more} after={list.atEnd ? undefined : "Loading more…"} />
        </div>
      )}
      {asking && <Retry chosen={asking === "chosen" ? picked.map((run) => run.run_id) : null} filters={filters} onClose={() => { setAsking(null); setChosen(new Set()); list.again(); }} />}
    </div>
  );
}

/** Runs that are shown change in place; one that is not shown yet may belong to the list, which is read again. */
function useLive(rows: Run[] | null, change: (by: (rows: Run[]) => Run[]) => void, again: () => void, newest: (signal: AbortSignal) => Promise<string | undefined>, tell: () => void, on: readonly unknown[]): void {
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const looking = useRef<Reading | null>(null);
  useEffect(() => {
    const reading = new Reading(() => undefined);
    looking.current = reading;
    return () => reading.close();
  }, on);
  const known = useRef<ReadonlySet<string>>(new Set());
  known.current = new Set(rows?.map((run) => run.run_id));
  useChanges((changes) => {
    const changed = new Map(changes.runs?.map((run) => [run.run_id, run]));
    // runs of a deleted thread are not listed one by one
    const gone = new Set(changes.deleted?.filter((one) => one.kind === "run" || one.kind === "thread").map((one) => one.id));
    if (changed.size > 0 || gone.size > 0) change((before) => before.filter((run) => !gone.has(run.run_id) && !gone.has(run.thread_id)).map((run) => ({ ...run, ...changed.get(run.run_id) })));
    const isNew = [...changed.keys()].some((id) => !known.current.has(id));
    // who reads further down is not taken back to the first page, and told of newer runs alone that fit the filters
    if (isNew && known.current.size > PAGE) {
      looking.current?.again(async (signal) => {
        const first = await newest(signal);
        if (!signal.aborted && first !== undefined && !known.current.has(first)) tell();
        await new Promise((done) => setTimeout(done, LOOK_PAUSE_MS));
      });
    }
    if ((isNew && known.current.size <= PAGE) || changes.stale?.includes("runs")) timer.current ??= setTimeout(() => { timer.current = null; again(); }, LOOK_PAUSE_MS);
  }, on);
  useEffect(() => () => void (timer.current !== null && clearTimeout(timer.current)), []);
}

function Filters({ filters, graphs, assistants }: { filters: URLSearchParams; graphs: string[]; assistants: { id: string; title: string }[] }) {
  const select = (name: string, label: string, options: [string, string][]) => {
    const value = filters.get(name) ?? "";
    return (
      <label>
        {label}
        <select class="select" name={name} value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value })} {...(name === "status" ? { "data-filter": true } : {})}>
          {options.map(([one, title]) => <option key={one} value={one}>{title}</option>)}
          {!options.some(([one]) => one === value) && <option value={value}>{oneLine(value, 40)}</option>}
        </select>
      </label>
    );
  };
  return (
    <form class="filters" role="search" aria-label="Filter runs" onSubmit={(event) => event.preventDefault()}>
      {select("status", "Status", STATUSES)}
      {select("graph", "Graph", [["", "any"], ...graphs.map((name): [string, string] => [name, name])])}
      {select("assistant", "Assistant", [["", "any"], ...assistants.map(({ id, title }): [string, string] => [id, oneLine(title, 40)])])}
      {select("age", "Created", [["", "any time"], ...Object.keys(HOURS).map((age): [string, string] => [age, `within ${age}`])])}
      {filters.size > 0 && <Button kind="bare" small icon="close" onClick={() => setQuery(Object.fromEntries([...filters.keys()].map((name) => [name, null])))}>Clear</Button>}
    </form>
  );
}

/** `chosen`: the ids; null: all that fit the filters, looked up once the person has said yes. */
function Retry({ chosen, filters, onClose }: { chosen: string[] | null; filters: URLSearchParams; onClose: () => void }) {
  const [total, setTotal] = useState<number | null>(chosen?.length ?? null);
  const [outcomes, setOutcomes] = useState<Outcome[]>([]);
  const [state, setState] = useState<"asking" | "going" | "over">("asking");
  const [error, setError] = useState<Error | null>(null);
  const breaking = useRef(new AbortController());
  // one key for each request of this dialog: repeated after a broken connection, it makes no second run
  const salt = useRef(crypto.getRandomValues(new Uint32Array(4)).join("-"));
  const ids = useRef<string[] | null>(chosen);
  useEffect(() => {
    if (chosen === null) call<number>("/runs/count", { body: searchBody(filters, Date.now()), signal: breaking.current.signal }).then(setTotal, setError);
    return () => breaking.current.abort();
  }, []);

  const go = async (): Promise<void> => {
    setState("going");
    setError(null);
    try {
      ids.current ??= await all(filters, breaking.current.signal);
      setTotal(ids.current.length);
      for (const some of chunks(ids.current, AT_ONCE).slice(outcomes.length / AT_ONCE)) {
        const found = await call<Outcome[]>("/runs/retry", { body: { run_ids: some }, headers: { "idempotency-key": `${salt.current}-${some[0]}` }, signal: breaking.current.signal });
        setOutcomes((before) => [...before, ...found]);
      }
      setState("over");
    } catch (failure) {
      if (breaking.current.signal.aborted) return;
      setError(failure as Error);
      setState("asking");
    }
  };
  const made = outcomes.filter((one) => one.status === "created");
  const title = total === null ? "Run these again?" : state === "over" ? `${plural(made.length, "run")} of ${total.toLocaleString("en")} go again` : `Run ${plural(Math.min(total, RETRIED_MOST), "failed run")} again?`;
  return (
    <Dialog title={title} onClose={onClose}>
      {state === "asking" && (
        <>
          <p>Each must be the last run of its thread; others are refused. It continues from its last checkpoint: completed nodes are not executed again. Other nodes repeat their effects on the outside.</p>
          {total !== null && total > RETRIED_MOST && <p>{`The first ${RETRIED_MOST.toLocaleString("en")} of ${total.toLocaleString("en")} are run again; press the button once more for the others.`}</p>}
        </>
      )}
      {error && <Failure error={error} />}
      {state === "going" && <p role="status">{`${outcomes.length.toLocaleString("en")} of ${total?.toLocaleString("en") ?? "…"} have been decided`}</p>}
      {outcomes.length > 0 && (
        <section aria-label="Outcomes" class="stack">
          {refusals(outcomes).map(([words, count]) => (
            <p key={words}><Badge tone="bad">{`${count.toLocaleString("en")} refused`}</Badge> {oneLine(words, 300)}</p>
          ))}
          <ul class="retried scroll">
            {outcomes.slice(0, 200).map((one) => (
              <li key={one.retried_run_id} class="row">
                <Badge tone={one.status === "created" ? "ok" : "bad"}>{one.status === "created" ? "runs again" : "refused"}</Badge>
                <span class="mono quiet" title={one.retried_run_id}>{shortId(one.retried_run_id)}</span>
                {one.run_id && one.thread_id && <a class="push" href={to("threads", one.thread_id, "runs", one.run_id)}>Open the new run</a>}
              </li>
            ))}
          </ul>
          {outcomes.length > 200 && <p class="quiet">{plural(outcomes.length - 200, "more outcome")}</p>}
        </section>
      )}
      <footer>
        <Button onClick={onClose}>{state === "over" ? "Close" : state === "going" ? "Stop" : "Cancel"}</Button>
        {state !== "over" && <Button kind="main" icon="replay" disabled={state === "going" || total === 0 || (total === null && error === null)} aria-busy={state === "going"} onClick={() => void go()}>{error && outcomes.length > 0 ? "Go on" : "Run again"}</Button>}
      </footer>
    </Dialog>
  );
}

/** The ids of all runs that fit, the newest first. */
async function all(filters: URLSearchParams, signal: AbortSignal): Promise<string[]> {
  const body = searchBody(filters, Date.now());
  const found: string[] = [];
  for (let after: string | null = ""; after !== null && found.length < RETRIED_MOST; ) {
    const page: { body: Run[]; headers: Headers } = await callWithHeaders<Run[]>("/runs/search", { body: { ...body, select: ["run_id"], limit: 1_000, ...(after ? { after } : {}) }, signal });
    found.push(...page.body.map((run) => run.run_id));
    after = page.headers.get("x-pagination-after");
  }
  return found.slice(0, RETRIED_MOST);
}
