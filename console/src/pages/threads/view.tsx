// The live list of threads. Its filters are the address; changes come from the feed and are looked up under the same filters.
import { useEffect, useRef, useState } from "preact/hooks";
import { query, setQuery, to } from "../../app/router";
import { feed, useChanges } from "../../api/changes";
import { call, callWithHeaders, credentials, root } from "../../api/client";
import { isFinal, pauseAfter } from "../../api/error";
import { useLoad } from "../../api/load";
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
const COUNT_PAUSE_MS = 5_000;
/** More changes than these, or a longer list, and the list begins anew instead. */
const LOOKED_UP_MOST = 500;
const ROWS_MOST = 5_000;
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
              {shown.waiting > LOOKED_UP_MOST ? `More than ${LOOKED_UP_MOST} changes` : plural(shown.waiting, "change")} above
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
  // where they cannot be read, the filter can be typed into the address all the same
  const assistants = useLoad((signal) => call<Assistant[]>("/assistants/search", { body: { limit: 1000, select: ["assistant_id", "graph_id", "name"] }, signal }), []).value ?? [];
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
  const [waiting, setWaiting] = useState(0);
  const [top, setTop] = useState(true);
  const [turn, setTurn] = useState(0);
  /** Counts the begins and ends of reads of the list. */
  const reads = useRef(0);
  const list = usePages<Thread>(
    async (after, signal) => {
      reads.current += 1;
      try {
        const { body: rows, headers } = await callWithHeaders<Thread[]>("/threads/search", { body: pageBody(filters, Date.now(), after), signal });
        return { rows, next: headers.get("x-pagination-after") };
      } finally {
        reads.current += 1;
      }
    },
    (thread) => thread.thread_id,
    [key],
  );
  // the rows are shown before they are counted; a list that is loaded to its end needs no count
  const isPart = list.rows !== null && !list.atEnd;
  const counted = useLoad((signal) => (isPart ? call<number>("/threads/count", { body: searchBody(filters, Date.now()), signal }) : Promise.resolve(null)), [key, isPart], [turn]);
  /** Changed threads that are not looked up yet. */
  const changed = useRef(new Set<string>());
  const looking = useRef(false);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const counting = useRef<ReturnType<typeof setTimeout> | null>(null);
  const refusals = useRef(0);
  const state = useRef({ key, filters, list, top });
  state.current = { key, filters, list, top };

  const forget = (): void => {
    if (timer.current !== null) clearTimeout(timer.current);
    timer.current = null;
    refusals.current = 0;
    changed.current.clear();
    setWaiting(0);
  };
  const again = (): void => {
    forget();
    list.again();
    setTurn((n) => n + 1);
  };
  const countSoon = (): void => {
    counting.current ??= setTimeout(() => {
      counting.current = null;
      setTurn((n) => n + 1);
    }, COUNT_PAUSE_MS);
  };

  /** Look up what has changed, under the filters of the list: one such query at a time. */
  async function look(): Promise<void> {
    timer.current = null;
    const before = state.current;
    // what is being read may be older than the changes, so they are looked up after it
    if (looking.current || before.list.loading || before.list.rows === null || changed.current.size === 0) return;
    if (changed.current.size > LOOKED_UP_MOST || before.list.rows.length > ROWS_MOST) return again();
    const asked = new Set(changed.current);
    changed.current.clear();
    setWaiting(0);
    looking.current = true;
    const [began, of] = [reads.current, credentials.peek()];
    let pause = LOOK_PAUSE_MS;
    try {
      const found = await call<Thread[]>("/threads/search", { body: { ...pageBody(before.filters, Date.now(), null), ids: [...asked], limit: asked.size } });
      refusals.current = 0;
      // a list that was asked for meanwhile may be newer
      if (reads.current === began) {
        const order = before.filters.get("sort") === "created" ? "created_at" : "updated_at";
        const merge = new Set(asked);
        before.list.change((shown) => merged(shown, merge, found, order));
        countSoon();
        asked.clear();
      }
    } catch (error) {
      if (isFinal(error)) asked.clear();
      else pause = pauseAfter(refusals.current++);
    }
    looking.current = false;
    if (state.current.key === before.key && credentials.peek() === of) for (const id of asked) changed.current.add(id);
    if (changed.current.size > 0) lookSoon(pause);
  }

  const lookSoon = (pause = LOOK_PAUSE_MS): void => {
    if (!state.current.top) setWaiting(changed.current.size);
    else timer.current ??= setTimeout(() => void look(), pause);
  };
  useChanges(
    (changes) => {
      if (changes.stale?.includes("threads")) return again();
      const gone = new Set(changes.deleted?.filter((one) => one.kind === "thread").map((one) => one.id));
      if (gone.size > 0) {
        list.change((rows) => rows.filter((row) => !gone.has(row.thread_id)));
        countSoon();
      }
      const ids = [...(changes.threads ?? []), ...(changes.runs ?? [])].map((one) => one.thread_id);
      for (const id of ids) if (changed.current.size <= LOOKED_UP_MOST) changed.current.add(id);
      // the query under way may have found it still
      for (const id of gone) looking.current ? changed.current.add(id) : changed.current.delete(id);
      if (changed.current.size > 0) lookSoon();
    },
    [key],
  );
  useEffect(() => {
    if (top && !list.loading && changed.current.size > 0) lookSoon();
  }, [top, list.loading]);
  useEffect(forget, [key, credentials.value]);
  useEffect(() => () => [timer, counting].forEach((one) => one.current !== null && clearTimeout(one.current)), []);

  return {
    rows: list.rows,
    total: isPart ? (counted.value ?? null) : (list.rows?.length ?? null),
    error: list.error, atEnd: list.atEnd, waiting, again,
    more: list.more,
    showWaiting: () => {
      document.querySelector(".table .rows")?.scrollTo({ top: 0 });
      setTop(true);
    },
    onScroll: (at) => setTop(at < AT_TOP_PX),
  };
}
