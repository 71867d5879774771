// The store: namespaces as a tree, items of one of them by filter or by meaning, and what an item holds.
import { useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery } from "../../app/router";
import { useEscape } from "../../app/shortcuts";
import { call } from "../../api/client";
import { useLoad } from "../../api/load";
import { usePages } from "../../api/pages";
import type { Json } from "../../api/types";
import { ActionButton, Button, Failure, Loading, Nothing, PageHead, Time } from "../../ui/basic";
import { Dialog } from "../../ui/dialog";
import { exact, excerpt, oneLine, plural } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { JsonField } from "../../ui/schema-form";
import { Table, type Column } from "../../ui/table";
import { filterOf, treeOf, type Branch } from "./namespaces";

interface Item {
  namespace: string[];
  key: string;
  value: { [name: string]: Json };
  created_at: string;
  updated_at: string;
  score?: number | null;
  expires_at?: string | null;
}

const NAMESPACES_MOST = 1_000;
const PAGE = 200;

const nameOf = (item: Item): string => JSON.stringify([...item.namespace, item.key]);

export default function Store() {
  const filters = query.value;
  const prefix = namespaceOf(filters.get("namespace"));
  const namespaces = useLoad((signal) => call<{ namespaces: string[][] }>("/store/namespaces", { body: { limit: NAMESPACES_MOST }, signal }), []);
  const text = filters.get("filter") ?? "";
  const meaning = filters.get("query") ?? "";
  let wrong: string | null = null;
  let filter: { [name: string]: Json } | null = null;
  try {
    filter = filterOf(text);
  } catch (error) {
    wrong = (error as Error).message;
  }
  const items = usePages<Item>(
    async (after, signal) => {
      if (wrong) return { rows: [], next: null };
      const offset = Number(after ?? 0);
      const { items: rows } = await call<{ items: Item[] }>("/store/items/search", { body: { namespace_prefix: prefix, limit: PAGE, offset, refresh_ttl: false, include: ["ttl"], ...(filter ? { filter } : {}), ...(meaning ? { query: meaning } : {}) }, signal });
      return { rows, next: rows.length < PAGE ? null : String(offset + PAGE) };
    },
    nameOf,
    [filters.get("namespace"), text, meaning],
  );
  const rows = items.rows ?? [];
  const isRanked = meaning !== "" && rows.some((item) => item.score != null);
  const columns: Column<Item>[] = [
    { key: "key", title: "Key", width: "minmax(0, 0.7fr)", cell: (item) => <span class="mono clip">{oneLine(item.key, 80)}</span> },
    { key: "value", title: "Value", width: "minmax(0, 1.4fr)", cell: (item) => <span class="quiet clip">{excerpt(item.value, 160)}</span> },
    { key: "namespace", wide: true, title: "Namespace", width: "minmax(0, 0.8fr)", cell: (item) => <span class="clip">{item.namespace.join(" / ")}</span> },
    ...(isRanked ? [{ key: "score", title: "Score", width: "64px", right: true, cell: (item: Item) => <span class="number">{item.score == null ? "–" : item.score.toFixed(3)}</span> }] : []),
    ...(rows.some((item) => item.expires_at) ? [{ key: "expires", title: "Expires", width: "84px", right: true, cell: (item: Item) => <Time at={item.expires_at} /> }] : []),
    { key: "updated", title: "Changed", wide: true, width: "96px", right: true, cell: (item) => <Time at={item.updated_at} /> },
  ];
  const open = rows.find((item) => nameOf(item) === filters.get("item"));
  const again = (): void => {
    items.again();
    namespaces.again();
  };
  return (
    <div class="page">
      <PageHead title="Store">
        <Button icon="refresh" kind="bare" onClick={again}>Refresh</Button>
        {!readOnly && <Put namespace={prefix} done={again} />}
      </PageHead>
      <form class="filters" role="search" aria-label="Search items" onSubmit={(event) => event.preventDefault()}>
        <label>Filter<input class="input" data-filter size={26} placeholder="kind=note, n=3" value={text} aria-invalid={wrong !== null} onChange={(event) => setQuery({ filter: event.currentTarget.value, item: null })} spellcheck={false} autocomplete="off" /></label>
        <label>Meaning<input class="input" size={26} placeholder="what it is about" value={meaning} onChange={(event) => setQuery({ query: event.currentTarget.value, item: null })} /></label>
        {wrong && <span class="quiet" role="alert">{wrong}</span>}
        {meaning !== "" && rows.length > 0 && !isRanked && <span class="quiet" role="status">None of these items has an embedding, so they are not ranked by meaning. Embeddings come from store.index in langgraph.json.</span>}
      </form>
      {namespaces.error && <Failure error={namespaces.error} again={namespaces.again} />}
      {items.error && <Failure error={items.error} again={items.again} />}
      <div class="store-split">
        <nav class="namespaces scroll" aria-label="Namespaces" tabIndex={0}>
          <button type="button" class="button bare" aria-current={prefix.length === 0} onClick={() => setQuery({ namespace: null, item: null })}>All namespaces</button>
          {namespaces.value && <Branches of={treeOf(namespaces.value.namespaces)} chosen={prefix} />}
          {namespaces.value && namespaces.value.namespaces.length >= NAMESPACES_MOST && <p class="quiet">{`The first ${NAMESPACES_MOST}; type one into the address.`}</p>}
        </nav>
        {items.rows === null && !items.error && <Loading lines={6} />}
        {items.rows?.length === 0 && <Nothing title="No item here"><p>Graphs keep memories in the store; so do clients, by client.store.put_item(…).</p></Nothing>}
        {rows.length > 0 && <Table label="Items" rows={rows} columns={columns} keyOf={nameOf} onOpen={(item) => setQuery({ item: nameOf(item) })} onEnd={items.more} after={items.atEnd ? undefined : "Loading more…"} />}
        {open && <ItemPane item={open} again={again} />}
      </div>
    </div>
  );
}

/** A namespace as a person writes it: as JSON where slashes or a bracket would change it. */
function textOf(namespace: string[]): string {
  return namespace.some((label) => label.includes("/")) || namespace[0]?.startsWith("[") ? JSON.stringify(namespace) : namespace.join("/");
}

/** The namespace of the address: JSON, or labels with slashes. */
function namespaceOf(text: string | null): string[] {
  if (!text) return [];
  try {
    const found = JSON.parse(text) as Json;
    if (Array.isArray(found)) return found.map(String);
  } catch {
    // as a person writes it
  }
  return text.split("/").filter((label) => label !== "");
}

const BRANCHES_SHOWN = 200;

function Branches({ of, chosen }: { of: Branch[]; chosen: string[] }) {
  return (
    <ul>
      {of.slice(0, BRANCHES_SHOWN).map((branch) => {
        const inside = branch.path.every((label, index) => chosen[index] === label);
        return (
          <li key={branch.label}>
            <button type="button" class="button bare" aria-current={inside && chosen.length === branch.path.length} onClick={() => setQuery({ namespace: JSON.stringify(branch.path), item: null })}>{oneLine(branch.label, 60)}</button>
            {branch.branches.length > 0 && (inside || of.length < 8) && <Branches of={branch.branches} chosen={chosen} />}
          </li>
        );
      })}
      {of.length > BRANCHES_SHOWN && <li class="quiet">{plural(of.length - BRANCHES_SHOWN, "more")}</li>}
    </ul>
  );
}

function ItemPane({ item, again }: { item: Item; again: () => void }) {
  useEscape(() => setQuery({ item: null }));
  const [asking, setAsking] = useState(false);
  return (
    <aside class="record-pane" aria-label="Item">
      <div class="row">
        <h2 class="clip mono">{item.key}</h2>
        <span class="push row">
          {!readOnly && <Button small kind="danger" onClick={() => setAsking(true)}>Delete</Button>}
          <Button kind="bare" small icon="close" aria-label="Close the item" onClick={() => setQuery({ item: null })} />
        </span>
      </div>
      <dl class="facts">
        <dt>Namespace</dt><dd>{item.namespace.join(" / ")}</dd>
        <dt>Created</dt><dd><Time at={item.created_at} /></dd>
        <dt>Changed</dt><dd><Time at={item.updated_at} /></dd>
        <dt>Expires</dt><dd>{item.expires_at ? <><Time at={item.expires_at} /> <span class="quiet number">{exact(item.expires_at)}</span></> : "never"}</dd>
      </dl>
      <JsonTree value={item.value} open={4} name="value" />
      {asking && (
        <Dialog title={`Delete ${oneLine(item.key, 60)}?`} onClose={() => setAsking(false)}>
          <p>Graphs can no longer read it. The log keeps its former values.</p>
          <footer>
            <Button onClick={() => setAsking(false)}>Keep it</Button>
            <ActionButton kind="danger" act={async () => { await call("/store/items", { method: "DELETE", body: { namespace: item.namespace, key: item.key } }); setAsking(false); setQuery({ item: null }); again(); }}>Delete it</ActionButton>
          </footer>
        </Dialog>
      )}
    </aside>
  );
}

function Put({ namespace, done }: { namespace: string[]; done: () => void }) {
  const [open, setOpen] = useState(false);
  const [labels, setLabels] = useState("");
  const [key, setKey] = useState("");
  const [value, setValue] = useState<Json>({});
  const [wrong, setWrong] = useState(false);
  return (
    <>
      <Button small onClick={() => { setLabels(textOf(namespace)); setOpen(true); }}>Put an item</Button>
      {open && (
        <Dialog title="Put an item" onClose={() => setOpen(false)}>
          <div class="stack">
            <label class="field"><span>Namespace</span><input class="input" value={labels} placeholder="users/ada" onInput={(event) => setLabels(event.currentTarget.value)} /></label>
            <label class="field"><span>Key</span><input class="input" value={key} onInput={(event) => setKey(event.currentTarget.value)} /></label>
            <JsonField label="Value" value={value} onChange={setValue} onWrong={setWrong} />
          </div>
          <footer>
            <Button onClick={() => setOpen(false)}>Cancel</Button>
            <ActionButton kind="main" disabled={wrong || key === "" || labels === ""} act={async () => { await call("/store/items", { method: "PUT", body: { namespace: namespaceOf(labels), key, value } }); setOpen(false); done(); }}>Put</ActionButton>
          </footer>
        </Dialog>
      )}
    </>
  );
}
