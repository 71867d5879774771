// From any checkpoint: change the state, run on, answer, or fork into a thread of its own; and two branches side by side (`?beside=`).
import { useEffect, useMemo, useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { navigate, query, setQuery, to } from "../../app/router";
import { at, call } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Checkpoint, Json, Run, State, Thread } from "../../api/types";
import { ActionButton, Badge, Failure, Field, Loading, Nothing, PageHead } from "../../ui/basic";
import { Conversation } from "../../ui/conversation";
import { JsonTree } from "../../ui/json";
import { conversationOf } from "../../ui/messages";
import { shortId } from "../../ui/format";
import { toast } from "../../ui/toast";
import { idOf, label, parentOf, Tree } from "../thread/checkpoints";
import { answerOf, editedOf, shown } from "./edit";

const SELECTED = ["next", "metadata", "created_at", "checkpoint", "parent_checkpoint"];
/** Characters of a channel that can be edited here. */
const EDITABLE_MOST = 200_000;

export default function TravelView({ params }: { params: Record<string, string> }) {
  const id = params["thread"] ?? "";
  const [turn, setTurn] = useState(0);
  const thread = useLoad((signal) => call<Thread>(at`/threads/${id}`, { signal }), [id], [turn]);
  const history = useLoad((signal) => call<State[]>(at`/threads/${id}/history`, { body: { limit: 500, select: SELECTED }, signal }), [id], [turn]);
  const newest = history.value?.[0];
  const checkpoint = query.value.get("checkpoint") ?? (newest ? idOf(newest) : null);
  const beside = query.value.get("beside");
  // what is edited stays when a run writes newer checkpoints
  useEffect(() => {
    if (query.peek().get("checkpoint") === null && checkpoint !== null) setQuery({ checkpoint });
  }, [checkpoint]);
  return (
    <div class="page">
      <PageHead title="Time travel" trail={[{ text: "Threads", href: to("threads") }, { text: shortId(id), href: to("threads", id) }]}>
        <Beside checkpoints={history.value ?? []} checkpoint={checkpoint} beside={beside} />
      </PageHead>
      <div class="travel">
        <nav class="travel-tree scroll" aria-label="Checkpoints" tabIndex={0}>
          <Tree checkpoints={history} chosen={checkpoint} hrefOf={(one) => to("threads", id, "travel", { checkpoint: one, beside })} />
        </nav>
        <div class="scroll" role="region" aria-label="From here" tabIndex={0}>
          {thread.error && <Failure error={thread.error} again={thread.again} />}
          {history.value?.length === 0 && <Nothing title="No checkpoint to continue from" />}
          {checkpoint !== null &&
            (beside === null ? (
              thread.value && <From key={checkpoint} thread={thread.value} checkpoint={checkpoint} isLast={newest !== undefined && idOf(newest) === checkpoint} onChange={() => setTurn((n) => n + 1)} />
            ) : (
              <SideBySide thread={id} left={checkpoint} right={beside} />
            ))}
        </div>
      </div>
    </div>
  );
}

/** Ends of branches: what nothing was made from. */
function endsOf(checkpoints: State[]): State[] {
  const parents = new Set(checkpoints.map(parentOf));
  return checkpoints.filter((one) => !parents.has(idOf(one)));
}

function Beside({ checkpoints, checkpoint, beside }: { checkpoints: State[]; checkpoint: string | null; beside: string | null }) {
  const ends = endsOf(checkpoints).filter((one) => idOf(one) !== checkpoint);
  if (ends.length === 0 && beside === null) return null;
  return (
    <label class="row quiet">
      Beside it
      <select class="select" value={beside ?? ""} onChange={(event) => setQuery({ checkpoint, beside: event.currentTarget.value })}>
        <option value="">nothing</option>
        {[...ends, ...checkpoints.filter((one) => idOf(one) === beside && !ends.includes(one))].map((one) => (
          <option key={idOf(one)} value={idOf(one)}>
            end of a branch: step {String(one.metadata?.["step"] ?? "?")} {label(one)} ({idOf(one).slice(0, 13)})
          </option>
        ))}
      </select>
    </label>
  );
}

function SideBySide({ thread, left, right }: { thread: string; left: string; right: string }) {
  return (
    <div class="stack" style={{ padding: "16px 20px" }}>
      <div class="row">
        <a class="button" href={to("threads", thread, "diff", { a: left, b: right })}>
          What differs
        </a>
      </div>
      <div class="side-by-side">
        {[left, right].map((one, index) => (
          <Branch key={`${index} ${one}`} thread={thread} checkpoint={one} />
        ))}
      </div>
    </div>
  );
}

function Branch({ thread, checkpoint }: { thread: string; checkpoint: string }) {
  const state = useLoad((signal) => call<State>(at`/threads/${thread}/state/${checkpoint}`, { signal }), [thread, checkpoint]);
  if (state.error) return <Failure error={state.error} again={state.again} />;
  if (state.value === undefined) return <Loading />;
  const found = conversationOf(state.value.values);
  return (
    <section class="card" aria-label={`State at ${checkpoint}`}>
      <h2>
        step {String(state.value.metadata?.["step"] ?? "?")} <span class="quiet">{label(state.value)}</span>
      </h2>
      {found ? <Conversation messages={found.messages} /> : <JsonTree value={state.value.values as Json} open={2} />}
    </section>
  );
}

/** Actions at a checkpoint. */
function From({ thread, checkpoint, isLast, onChange }: { thread: Thread; checkpoint: string; isLast: boolean; onChange: () => void }) {
  const id = thread.thread_id;
  const state = useLoad((signal) => call<State>(at`/threads/${id}/state/${checkpoint}`, { signal }), [id, checkpoint]);
  /** Channel → typed text: an untouched channel shows its value, so that later values do not replace typed text. */
  const [texts, setTexts] = useState<Record<string, string>>({});
  const [node, setNode] = useState("");
  const [input, setInput] = useState("");
  const [answer, setAnswer] = useState("");
  const values = state.value?.values;
  const edited = useMemo(() => editedOf(values ?? {}, texts), [values, texts]);
  if (state.error) return <Failure error={state.error} again={state.again} />;
  if (state.value === undefined || values === undefined) return <Loading lines={6} />;
  const assistant = thread.metadata["assistant_id"] ?? thread.metadata["graph_id"];
  const interrupts = state.value.interrupts ?? state.value.tasks.flatMap((task) => task.interrupts);
  const isEdited = Object.keys(edited.values).length > 0;
  const isWrong = Object.keys(edited.wrong).length > 0;
  const place: Checkpoint = state.value.checkpoint ?? { thread_id: id, checkpoint_id: checkpoint, checkpoint_ns: "" };

  /** The checkpoint to go on from: a new one where something was changed. */
  const saved = async (): Promise<Checkpoint> => {
    if (!isEdited) return place;
    const made = await call<{ checkpoint: Checkpoint }>(at`/threads/${id}/state`, { body: { values: edited.values, checkpoint: place, ...(node === "" ? {} : { as_node: node }) } });
    return made.checkpoint;
  };
  const save = async (): Promise<void> => {
    const made = await saved();
    onChange();
    navigate(to("threads", id, "travel", { checkpoint: made.checkpoint_id }));
  };
  const run = async (what: { input?: Json; command?: Json }, other?: Checkpoint): Promise<void> => {
    if (typeof assistant !== "string") throw new Error("No run was created on this thread, so its assistant is unknown.");
    const from = other ?? (await saved());
    const made = await call<Run>(at`/threads/${id}/runs`, { body: { assistant_id: assistant, checkpoint: from, ...what } });
    navigate(to("threads", id, "runs", made.run_id));
  };
  /** An older checkpoint keeps the answer that it got, which a graph would take again: a copy of it has none. */
  const resume = async (): Promise<void> => {
    const resumed = { command: { resume: answerOf(answer) } };
    if (isLast || isEdited) return run(resumed);
    const copied = await call<{ checkpoint: Checkpoint }>(at`/threads/${id}/state`, { body: { values: null, checkpoint: place, as_node: "__copy__" } });
    return run(resumed, copied.checkpoint);
  };
  const fork = async (): Promise<void> => {
    const from = await saved();
    const made = await call<Thread>(at`/threads/${id}/fork`, { body: { checkpoint_id: from.checkpoint_id } });
    toast("A new thread was created.");
    navigate(to("threads", made.thread_id));
  };

  return (
    <div class="from">
      <header class="row wrap">
        <h2>
          Step {String(state.value.metadata?.["step"] ?? "?")} <span class="quiet">{label(state.value)}</span>
        </h2>
        {isEdited && <Badge tone="wait">changed: {Object.keys(edited.values).join(", ")}</Badge>}
        {!readOnly && (
          <span class="row push wrap">
            {isEdited && (
              <ActionButton act={save} disabled={isWrong} done="The change is a new checkpoint.">
                Save as a checkpoint
              </ActionButton>
            )}
            <ActionButton icon="fork" act={fork} disabled={isWrong}>
              Fork into a new thread
            </ActionButton>
            <ActionButton kind="main" icon="play" act={() => run({ input: null })} disabled={isWrong || (state.value.next.length === 0 && !isEdited)}>
              {isEdited ? "Run on with this change" : "Run on from here"}
            </ActionButton>
          </span>
        )}
      </header>
      {!readOnly && interrupts.length > 0 && (
        <section class="card stack" aria-label="Answer">
          <h2>Answer its interrupts</h2>
          {interrupts.map((interrupt) => (
            <JsonTree key={interrupt.id} value={interrupt.value} open={2} />
          ))}
          <Field label="Answer" hint="JSON, or else text. From an older checkpoint this makes another branch.">
            <textarea class="textarea code" rows={3} value={answer} onInput={(event) => setAnswer(event.currentTarget.value)} spellcheck={false} />
          </Field>
          <div class="row">
            <ActionButton kind="main" act={resume} disabled={answer.trim() === "" || isWrong}>
              Resume with this answer
            </ActionButton>
          </div>
        </section>
      )}
      {!readOnly && (
        <section class="card stack" aria-label="New input">
          <Field label="New input" hint={conversationOf(values) ? "Text becomes a message of a human; JSON is used unchanged." : "The graph's input, as JSON."}>
            <textarea class="textarea code" rows={2} value={input} onInput={(event) => setInput(event.currentTarget.value)} spellcheck={false} />
          </Field>
          <div class="row">
            <ActionButton act={() => run({ input: inputOf(input, conversationOf(values)?.channel) })} disabled={input.trim() === "" || isWrong}>
              Run with this input
            </ActionButton>
          </div>
        </section>
      )}
      <section class="stack" aria-label="State">
        <div class="row wrap">
          <h2>State</h2>
          <span class="quiet">Changed channels are written through their reducers, like a node's update: a list with an adding reducer grows.</span>
          <label class="row push quiet">
            As node
            <input class="input" list="nodes" value={node} placeholder="the last writer" onInput={(event) => setNode(event.currentTarget.value)} spellcheck={false} />
            <datalist id="nodes">
              {[...new Set([...state.value.next, ...state.value.tasks.map((task) => task.name)])].map((name) => (
                <option key={name} value={name} />
              ))}
            </datalist>
          </label>
        </div>
        {Object.entries(values).map(([channel, value]) => {
          const text = texts[channel] ?? shown(value);
          if (readOnly || text.length > EDITABLE_MOST) {
            return (
              <div class="card" key={channel}>
                <JsonTree value={value} name={channel} open={1} />
              </div>
            );
          }
          return (
            <Field key={channel} label={channel} wrong={edited.wrong[channel]}>
              <textarea class="textarea code" rows={Math.min(18, text.split("\n").length)} value={text} aria-invalid={channel in edited.wrong} onInput={(event) => setTexts({ ...texts, [channel]: event.currentTarget.value })} spellcheck={false} />
            </Field>
          );
        })}
        {Object.keys(values).length === 0 && <p class="quiet">The state is empty.</p>}
      </section>
    </div>
  );
}

/** Text on a conversation is a message; everything else is the input itself. */
function inputOf(text: string, channel: string | undefined): Json {
  const found = answerOf(text);
  return channel !== undefined && typeof found === "string" ? { [channel]: [{ role: "user", content: found }] } : found;
}
