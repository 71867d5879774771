// Two checkpoints of a thread compared: JSON, text inside it, and bytes by channel. `?a=` and `?b=`; without them, the last and its parent.
import { useEffect, useMemo, useState } from "preact/hooks";
import { query, setQuery, to } from "../../app/router";
import { at, call } from "../../api/client";
import { useLoad } from "../../api/load";
import type { State } from "../../api/types";
import { Badge, Button, Failure, Loading, Nothing, PageHead } from "../../ui/basic";
import { bytes, plural, shortId } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { idOf, label, parentOf } from "../thread/checkpoints";
import { changesOf, identityOf, sizesOf, type Change } from "./changes";

/** Characters of both texts together; longer ones are shown whole, one after the other. */
const TEXT_MOST = 200_000;
const CHANGES_SHOWN = 200;

export default function DiffView({ params }: { params: Record<string, string> }) {
  const thread = params["thread"] ?? "";
  const history = useLoad((signal) => call<State[]>(at`/threads/${thread}/history`, { body: { limit: 500, select: ["next", "metadata", "created_at", "checkpoint", "parent_checkpoint"] }, signal }), [thread]);
  const checkpoints = history.value ?? [];
  const b = query.value.get("b") ?? (checkpoints[0] ? idOf(checkpoints[0]) : "");
  const ofB = checkpoints.find((one) => idOf(one) === b);
  const a = query.value.get("a") ?? (ofB ? parentOf(ofB) : null) ?? "";
  return (
    <div class="page">
      <PageHead title="Checkpoint diff" trail={[{ text: "Threads", href: to("threads") }, { text: shortId(thread), href: to("threads", thread) }]} />
      <form class="filters" aria-label="What to compare" onSubmit={(event) => event.preventDefault()}>
        <Choice name="From" value={a} checkpoints={checkpoints} onChoose={(id) => setQuery({ a: id, b })} />
        <Choice name="To" value={b} checkpoints={checkpoints} onChoose={(id) => setQuery({ a, b: id })} />
        <Button kind="bare" small onClick={() => setQuery({ a: b, b: a })}>
          Swap
        </Button>
        {ofB && parentOf(ofB) !== null && (
          <Button kind="bare" small onClick={() => setQuery({ a: parentOf(ofB), b })}>
            With its parent
          </Button>
        )}
      </form>
      <div class="page-body" tabIndex={0} role="region" aria-label="Differences">
        {history.error && <Failure error={history.error} again={history.again} />}
        {history.value !== undefined && (a === "" || b === "") && <Nothing title="Nothing to compare">{checkpoints.length < 2 && <p>The thread has fewer than two checkpoints.</p>}</Nothing>}
        {a !== "" && b !== "" && <Compared thread={thread} a={a} b={b} />}
      </div>
    </div>
  );
}

function Choice({ name, value, checkpoints, onChoose }: { name: string; value: string; checkpoints: State[]; onChoose: (id: string) => void }) {
  return (
    <label>
      {name}
      <select class="select checkpoint" value={value} onChange={(event) => onChoose(event.currentTarget.value)}>
        {!checkpoints.some((one) => idOf(one) === value) && <option value={value}>{value || "–"}</option>}
        {checkpoints.map((one) => (
          <option key={idOf(one)} value={idOf(one)}>
            step {String(one.metadata?.["step"] ?? "?")} {label(one)} ({shortId(idOf(one))})
          </option>
        ))}
      </select>
    </label>
  );
}

/** The two states' values, compared. */
export function Compared({ thread, a, b }: { thread: string; a: string; b: string }) {
  const states = useLoad((signal) => Promise.all([a, b].map((id) => call<State>(at`/threads/${thread}/state/${id}`, { query: { select: ["values"] }, signal }))), [thread, a, b]);
  const [changes, setChanges] = useState<Change[] | null>(null);
  const [before, after] = states.value ?? [];
  useEffect(() => {
    let gone = false;
    setChanges(null);
    if (before === undefined || after === undefined) return;
    void import("jsondiffpatch").then(({ create }) => {
      const differ = create({ objectHash: identityOf, arrays: { detectMove: true }, textDiff: { diffMatchPatch: undefined, minLength: Infinity } as never });
      if (!gone) setChanges(changesOf(differ.diff(before.values, after.values)));
    });
    return () => {
      gone = true;
    };
  }, [states.value]);
  if (states.error) return <Failure error={states.error} again={states.again} />;
  if (changes === null || before === undefined || after === undefined) return <Loading lines={6} />;
  return (
    <div class="compared">
      <section class="stack" aria-label="Changes">
        <h2>{plural(changes.length, "change")}</h2>
        {changes.length === 0 && <p class="quiet">The values are the same.</p>}
        {changes.slice(0, CHANGES_SHOWN).map((change, index) => (
          <One key={index} change={change} />
        ))}
        {changes.length > CHANGES_SHOWN && <p class="quiet">The first {CHANGES_SHOWN} are shown.</p>}
      </section>
      <section class="stack" aria-label="Bytes by channel">
        <h2>Bytes by channel</h2>
        <table class="sizes">
          <thead>
            <tr>
              <th scope="col">Channel</th>
              <th scope="col">From</th>
              <th scope="col">To</th>
              <th scope="col">Grew by</th>
            </tr>
          </thead>
          <tbody>
            {sizesOf(before.values, after.values).map((size) => (
              <tr key={size.channel}>
                <th scope="row" class="mono">{size.channel}</th>
                <td>{size.before === null ? "–" : bytes(size.before)}</td>
                <td>{size.after === null ? "–" : bytes(size.after)}</td>
                <td>{grown((size.after ?? 0) - (size.before ?? 0))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </div>
  );
}

function grown(by: number): string {
  return by === 0 ? "" : `${by > 0 ? "+" : "−"}${bytes(Math.abs(by))}`;
}

function One({ change }: { change: Change }) {
  return (
    <article class={`change ${change.kind}`}>
      <header class="row">
        <Badge plain tone={change.kind === "added" ? "ok" : change.kind === "removed" ? "bad" : "busy"}>
          {change.kind}
        </Badge>
        <span class="mono clip">{change.path || "all"}</span>
      </header>
      {change.kind === "added" && <JsonTree value={change.after} open={2} />}
      {change.kind === "removed" && <JsonTree value={change.before} open={2} />}
      {change.kind === "moved" && <p class="quiet">from {change.from}</p>}
      {change.kind === "changed" &&
        (typeof change.before === "string" && typeof change.after === "string" && change.before.length + change.after.length < TEXT_MOST ? (
          <TextDiff before={change.before} after={change.after} />
        ) : (
          <div class="both">
            <div class="removed">
              <JsonTree value={change.before} open={1} />
            </div>
            <div class="added">
              <JsonTree value={change.after} open={1} />
            </div>
          </div>
        ))}
    </article>
  );
}

/** Two texts, word for word. */
function TextDiff({ before, after }: { before: string; after: string }) {
  const [parts, setParts] = useState<[number, string][] | null>(null);
  const texts = useMemo(() => [before, after] as const, [before, after]);
  useEffect(() => {
    let gone = false;
    void import("@dmsnell/diff-match-patch").then(({ diff_match_patch: Differ }) => {
      const differ = new Differ();
      const found = differ.diff_main(texts[0], texts[1]);
      differ.diff_cleanupSemantic(found);
      if (!gone) setParts(found.map((part) => [part[0], part[1]]));
    });
    return () => {
      gone = true;
    };
  }, [texts]);
  if (parts === null) return <Loading lines={1} />;
  return (
    <p class="text-diff">
      {parts.map(([kind, text], index) => (kind === 0 ? <span key={index}>{text}</span> : kind < 0 ? <del key={index}>{text}</del> : <ins key={index}>{text}</ins>))}
    </p>
  );
}
