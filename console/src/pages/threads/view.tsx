// The live list of threads. Its filters are the address; changes come from the feed and are looked up under the same filters.
import { useEffect, useRef, useState } from "preact/hooks";
import { query, setQuery, to } from "../../app/router";
import { feed, useChanges } from "../../api/changes";
import { ApiError, call, callWithHeaders, credentials, root } from "../../api/client";
import { NOT_YET, pauseAfter } from "../../api/load";
import { usePages } from "../../api/pages";
import { useAssistants } from "../../api/assistants";
import type { Assistant, Thread } from "../../api/types";
import { Badge, Button, Failure, Loading, Nothing, PageHead, Status, Time } from "../../ui/basic";
import { oneLine, plural, shortId } from "../../ui/format";
import { Table, type Column } from "../../ui/table";
import { questionOf } from "../inbox/requests";
import { AGES, merged, pageBody, searchBody, textOf } from "./query";

const STATUSES = ["idle", "busy", "interrupted", "error"];
const LOOK_PAUSE_MS = 250;
const AT_TOP_PX = 60;

const COLUMNS: Column<Thread>[] = [
  { key: "what", title: "Thread", width: "minmax(0, 1fr)", cell: (thread) => <Summary thread={thread} /> },
  { key: "status", title: "Status", width: "104px", cell: (thread) => <Status of={thread.status} /> },
  { key: "graph", wide: true, title: "Graph", width: "minmax(80px, 160px)", cell: (thread) => <span class="quiet">{String(thread.metadata["graph_id"] ?? "–")}</span> },
  { key: "id", wide: true, title: "Id", width: "124px", cell: (thread) => <span class="mono quiet" title={thread.thread_id}>{shortId(thread.thread_id)}</span> },
  { key: "updated", title: "Updated", width: "96px", right: true, cell: (thread) => <Time at={thread.updated_at} /> },
  { key: "created", wide: true, title: "Created", width: "96px", right: true, cell: (thread) => <Time at={thread.created_at} /> },
];

export default function Threads() {
  const filters = query.value;
  const shown = useThreads(filters);
  return (
    <div class="page">
      <PageHead title="Threads">
        {shown.total !== null && <span class="quiet number">{plural(shown.total, "thread")}</span>}
        <span title="The list changes as threads do">{feed.value === "live" && <Badge tone="ok">live</Badge>}</span>
        <label class="row quiet">
        Order
        <select class="select" name="sort" value={filters.get("sort") ?? ""} onChange={(event) => setQuery({ sort: event.currentTarget.value })}>
          <option value="">changed</option>
          <option value="created">newest</option>
        </select>
      </label>
        <Button icon="refresh" kind="bare" onClick={shown.again}>
          Refresh
        </Button>
      </PageHead>
      <Filters filters={filters} />
      {shown.error && <Failure error={shown.error} again={shown.again} />}
      {shown.rows === null && !shown.error && <Loading lines={8} />}
      {shown.rows !== null && shown.rows.length === 0 && <Empty filtered={[...filters.keys()].some((name) => name !== "sort")} />}
      {shown.rows !== null && shown.rows.length > 0 && (
        <div style={{ position: "relative", flex: 1, minHeight: 0, display: "flex" }}>
          {shown.waiting > 0 && (
            <Button class="pill" small onClick={shown.showWaiting}>
              {plural(shown.waiting, "change")} above
            </Button>
          )}
          <Table label="Threads" rows={shown.rows} columns={COLUMNS} keyOf={(thread) => thread.thread_id} hrefOf={(thread) => to("threads", thread.thread_id)} total={shown.total} onEnd={shown.more} after={shown.atEnd ? undefined : "Loading more…"} onScroll={shown.onScroll} />
        </div>
      )}
    </div>
  );
}

function Summary({ thread }: { thread: Thread }) {
  const last = oneLine(textOf(thread.extracted?.["last"]));
  const first = oneLine(textOf(thread.extracted?.["first"]));
  const asked = Object.values(thread.interrupts ?? {}).flat()[0]?.value;
  if (first === "" && last === "" && asked !== undefined) return <span class="quiet">asks: {oneLine(questionOf(asked))}</span>;
  const failed = thread.status === "error" && thread.error ? oneLine(`${thread.error.error}: ${thread.error.message}`) : "";
  if (first === "" && last === "") return <span class="quiet">{failed || thread.thread_id}</span>;
  return (
    <>
      {first || last}
      {failed !== "" ? <span class="quiet"> — {failed}</span> : first !== "" && last !== "" && last !== first && <span class="quiet"> — {last}</span>}
    </>
  );
}

function Filters({ filters }: { filters: URLSearchParams }) {
  const [assistants, setAssistants] = useState<Assistant[]>([]);
  useEffect(() => {
    call<Assistant[]>("/assistants/search", { body: { limit: 1000, select: ["assistant_id", "graph_id", "name"] } })
      .then(setAssistants)
      .catch(() => undefined); // the filter can be typed into the address all the same
  }, [credentials.value]);
  const graph = filters.get("graph") ?? "";
  const assistant = filters.get("assistant") ?? "";
  const graphs = [...new Set([...assistants.map((one) => one.graph_id), ...(graph ? [graph] : [])])].sort();
  const offered = assistants.filter((one) => graph === "" || one.graph_id === graph || one.assistant_id === assistant);
  let wrong: string | null = null;
  try {
    searchBody(filters, Date.now());
  } catch (error) {
    wrong = (error as Error).message;
  }
  return (
    <form class="filters" role="search" aria-label="Filter threads" onSubmit={(event) => event.preventDefault()}>
      <label>
        Status
        <select class="select" name="status" value={filters.get("status") ?? ""} onChange={(event) => setQuery({ status: event.currentTarget.value })}>
          <option value="">any</option>
          {STATUSES.map((status) => (
            <option key={status}>{status}</option>
          ))}
        </select>
      </label>
      <label>
        Graph
        <select class="select" name="graph" value={graph} onChange={(event) => setQuery({ graph: event.currentTarget.value })}>
          <option value="">any</option>
          {graphs.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        Assistant
        <select class="select" name="assistant" value={assistant} onChange={(event) => setQuery({ assistant: event.currentTarget.value })}>
          <option value="">any</option>
          {assistant !== "" && !offered.some((one) => one.assistant_id === assistant) && <option value={assistant}>{shortId(assistant)}</option>}
          {offered.map((one) => (
            <option key={one.assistant_id} value={one.assistant_id}>
              {oneLine(one.name, 30)} ({shortId(one.assistant_id)})
            </option>
          ))}
        </select>
      </label>
      <label>
        Changed
        <select class="select" name="age" value={filters.get("age") ?? ""} onChange={(event) => setQuery({ age: event.currentTarget.value })}>
          <option value="">any time</option>
          {Object.keys(AGES).map((age) => (
            <option key={age} value={age}>
              within {age}
            </option>
          ))}
        </select>
      </label>
      <label>
        Id
        <input class="input mono" name="id" size={10} placeholder="01a225c7" value={filters.get("id") ?? ""} onChange={(event) => setQuery({ id: event.currentTarget.value.trim().toLowerCase() })} spellcheck={false} autocomplete="off" />
      </label>
      <label>
        Metadata
        <input class="input" name="metadata" data-filter size={14} placeholder="user=ada" value={filters.get("metadata") ?? ""} aria-invalid={wrong !== null} title={wrong ?? "key=value, other=value, or a JSON object"} onChange={(event) => setQuery({ metadata: event.currentTarget.value })} spellcheck={false} autocomplete="off" />
      </label>
      {[...filters.keys()].length > 0 && (
        <Button kind="bare" small icon="close" onClick={() => setQuery(Object.fromEntries([...filters.keys()].map((name) => [name, null])))}>
          Clear
        </Button>
      )}
      {wrong && <span class="quiet" role="alert">{wrong}</span>}
    </form>
  );
}

function Empty({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <Nothing title="No thread fits these filters">
        <Button onClick={() => setQuery(Object.fromEntries([...query.peek().keys()].map((name) => [name, null])))}>Clear the filters</Button>
      </Nothing>
    );
  }
  const assistants = useAssistants();
  const graph = assistants.value?.[0]?.graph_id;
  const address = location.origin + root;
  return (
    <Nothing title="No thread yet">
      <p>A thread begins with the first run of a graph. <a href={to("try")}>Try one here</a>, or run one from a program:</p>
      <pre>{`from langgraph_sdk import get_sync_client\n\nclient = get_sync_client(url="${address}")\nthread = client.threads.create()\nclient.runs.wait(thread["thread_id"], ${JSON.stringify(graph ?? "agent")}, input={"messages": [{"role": "user", "content": "hello"}]})`}</pre>
    </Nothing>
  );
}

interface Shown {
  rows: Thread[] | null;
  total: number | null;
  error: Error | null;
  atEnd: boolean;
  /** Changes that are held back because the reader is further down. */
  waiting: number;
  more: () => void;
  again: () => void;
  showWaiting: () => void;
  onScroll: (top: number) => void;
}

function useThreads(filters: URLSearchParams): Shown {
  const key = filters.toString();
  const [total, setTotal] = useState<number | null>(null);
  const [waiting, setWaiting] = useState(0);
  const [top, setTop] = useState(true);
  const list = usePages<Thread>(
    async (after, signal) => {
      const now = Date.now();
      const { body: rows, headers } = await callWithHeaders<Thread[]>("/threads/search", { body: pageBody(filters, now, after), signal });
      const next = headers.get("x-pagination-after");
      if (after === null) {
        if (next === null) setTotal(rows.length);
        // the rows are shown before they are counted
        else call<number>("/threads/count", { body: searchBody(filters, now), signal }).then(setTotal, () => undefined);
      }
      return { rows, next };
    },
    (thread) => thread.thread_id,
    [key],
  );
  /** Changed threads that are not looked up yet. */
  const changed = useRef(new Set<string>());
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const refusals = useRef(0);
  const state = useRef({ key, list, top });
  state.current = { key, list, top };

  const forget = (): void => {
    changed.current.clear();
    setWaiting(0);
  };

  /** Look up what has changed, under the filters of the list. */
  async function look(): Promise<void> {
    timer.current = null;
    const before = state.current;
    // what is being read may be older than the changes, so they are looked up after it
    if (before.list.loading || before.list.rows === null || changed.current.size === 0) return;
    const asked = new Set(changed.current);
    forget();
    try {
      const found = await call<Thread[]>("/threads/search", { body: { ...pageBody(filters, Date.now(), null), ids: [...asked], limit: Math.min(1000, asked.size) } });
      refusals.current = 0;
      if (state.current.key !== before.key) return;
      const rows = state.current.list.rows ?? [];
      const added = found.filter((thread) => !rows.some((row) => row.thread_id === thread.thread_id)).length;
      state.current.list.change((shown) => merged(shown, asked, found, filters.get("sort") === "created" ? "created_at" : "updated_at"));
      if (added > 0) setTotal((count) => (count === null ? null : count + added));
    } catch (error) {
      if (!(error instanceof ApiError) || state.current.key !== before.key) return;
      // without a connection the list is read again when it is back, and these after it
      if (error.status !== 0 && !NOT_YET.has(error.status)) return;
      for (const id of asked) changed.current.add(id);
      if (error.status !== 0) timer.current ??= setTimeout(() => void look(), pauseAfter(refusals.current++));
    }
  }

  const lookSoon = (): void => {
    if (!state.current.top) setWaiting(changed.current.size);
    else timer.current ??= setTimeout(() => void look(), LOOK_PAUSE_MS);
  };
  useChanges(
    (changes) => {
      if (changes.stale?.includes("threads")) {
        forget();
        list.again();
        return;
      }
      const gone = new Set(changes.deleted?.filter((one) => one.kind === "thread").map((one) => one.id));
      if (gone.size > 0) {
        list.change((rows) => rows.filter((row) => !gone.has(row.thread_id)));
        setTotal((count) => (count === null ? null : Math.max(0, count - gone.size)));
      }
      for (const thread of changes.threads ?? []) changed.current.add(thread.thread_id);
      for (const run of changes.runs ?? []) changed.current.add(run.thread_id);
      for (const id of gone) changed.current.delete(id);
      if (changed.current.size > 0) lookSoon();
    },
    [key],
  );
  useEffect(() => {
    if (top && !list.loading && changed.current.size > 0) lookSoon();
  }, [top, list.loading]);
  useEffect(forget, [key, credentials.value]);
  useEffect(() => () => void (timer.current !== null && clearTimeout(timer.current)), []);

  return {
    rows: list.rows, total, error: list.error, atEnd: list.atEnd, waiting,
    more: list.more,
    again: () => {
      forget();
      list.again();
    },
    showWaiting: () => {
      document.querySelector(".table .rows")?.scrollTo({ top: 0 });
      setTop(true);
    },
    onScroll: (at) => setTop(at < AT_TOP_PX),
  };
}
