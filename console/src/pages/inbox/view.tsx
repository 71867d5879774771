// Every open interrupt of all threads, the oldest first: read it, answer it, or answer many at once. `?show=answered`: what was answered.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { readOnly } from "../../app/mode";
import { query, setQuery, to } from "../../app/router";
import { useAssistants } from "../../api/assistants";
import { concerns, feed, useChanges } from "../../api/changes";
import { call, callWithHeaders } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Json } from "../../api/types";
import { ActionButton, Badge, Button, Failure, Id, Loading, Nothing, PageHead, Time } from "../../ui/basic";
import { oneLine, plural } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { controlOf, initial } from "../../ui/schema";
import { JsonField, SchemaForm } from "../../ui/schema-form";
import { toast } from "../../ui/toast";
import { Answered } from "./answered";
import { actionsOf, decisionsOf, detailOf, firstDecision, keyOf, questionOf, QUICK, type Action, type Decision, type OpenInterrupt, type Outcome } from "./requests";

const PAGE = 100;
const PAUSE_MS = 300;

/** The question and when it was asked. */
const timeOf = (question: OpenInterrupt): string => `${keyOf(question)} ${question.created_at}`;

export default function Inbox() {
  const filters = query.value;
  const graph = filters.get("graph") ?? "";
  const isAnswered = filters.get("show") === "answered";
  // answered here, and hidden until a list that was asked for since then still has them: their runs may be withdrawn before they begin
  const answered = useRef<ReadonlySet<string>>(new Set());
  const inbox = useInbox(graph, answered);
  const assistants = useAssistants();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const rows = (inbox.rows ?? []).filter((row) => !answered.current.has(timeOf(row)) || inbox.answered.has(timeOf(row)));
  const here = filters.get("interrupt");
  const seen = useRef<OpenInterrupt | null>(null);
  const found = rows.find((row) => keyOf(row) === here) ?? (here === null ? rows[0] : undefined);
  // a node that asks twice asks under one id: the second question is another
  const open = found !== undefined && seen.current !== null && keyOf(found) === keyOf(seen.current) && timeOf(found) !== timeOf(seen.current) ? undefined : found;
  if (open !== undefined) seen.current = open;
  const picked = rows.filter((row) => chosen.has(keyOf(row)));
  const pick = (key: string | null): void => {
    seen.current = null;
    setQuery({ interrupt: key });
  };
  const done = (taken: OpenInterrupt[]): void => {
    answered.current = new Set([...answered.current, ...taken.map(timeOf)]);
    if (taken.some((one) => keyOf(one) === here)) pick(null);
    inbox.again();
  };
  // what a person reads stays there when somebody else answers it: a click must not answer the next one
  useEffect(() => {
    if (!isAnswered && here === null && open !== undefined) setQuery({ interrupt: keyOf(open) });
  }, [isAnswered, here, open]);
  return (
    <div class="page">
      <PageHead title="Inbox">
        {inbox.total !== null && <span class="quiet number">{plural(inbox.total, "open question")}</span>}
        <span title="Questions appear as they are asked">{feed.value === "live" && <Badge tone="ok">live</Badge>}</span>
        <Button icon="refresh" kind="bare" onClick={inbox.again}>Refresh</Button>
      </PageHead>
      <form class="filters" role="search" aria-label="Filter questions" onSubmit={(event) => event.preventDefault()}>
        <label>
          Graph
          <select class="select" data-filter name="graph" value={graph} onChange={(event) => setQuery({ graph: event.currentTarget.value, interrupt: null })}>
            <option value="">any</option>
            {[...new Set([...(assistants.value?.map((one) => one.graph_id) ?? []), ...(graph ? [graph] : [])])].sort().map((name) => <option key={name}>{name}</option>)}
          </select>
        </label>
        <label>
          Show
          <select class="select" name="show" value={isAnswered ? "answered" : ""} onChange={(event) => setQuery({ show: event.currentTarget.value, interrupt: null })}>
            <option value="">open questions</option>
            <option value="answered">answers</option>
          </select>
        </label>
        {!isAnswered && picked.length > 0 && !readOnly && <Many picked={picked} done={(taken) => { setChosen(new Set()); done(taken); }} />}
      </form>
      {isAnswered && <Answered key={graph} graph={graph} />}
      {!isAnswered && <Open inbox={{ ...inbox, rows: inbox.rows && rows }} open={open} chosen={chosen} choose={setChosen} pick={pick} done={done} />}
    </div>
  );
}

function Open({ inbox, open, chosen, choose, pick, done }: { inbox: Shown; open: OpenInterrupt | undefined; chosen: ReadonlySet<string>; choose: (keys: ReadonlySet<string>) => void; pick: (key: string | null) => void; done: (taken: OpenInterrupt[]) => void }) {
  const rows = inbox.rows ?? [];
  return (
    <>
      {inbox.error && <Failure error={inbox.error} again={inbox.again} />}
      {inbox.rows === null && !inbox.error && <Loading lines={6} />}
      {inbox.rows?.length === 0 && (
        <Nothing title="Nothing waits for a person">
          <p>A run that calls interrupt() shows its question here until it is answered.</p>
        </Nothing>
      )}
      {rows.length > 0 && (
        <div class="inbox-split">
          <ul class="questions" aria-label="Open questions">
            {rows.map((row) => (
              <li key={keyOf(row)} class={open === row ? "chosen" : ""}>
                {!readOnly && (
                  <input type="checkbox" aria-label={`Choose ${oneLine(questionOf(row.value), 60)}`} checked={chosen.has(keyOf(row))} onChange={(event) => {
                    const next = new Set(chosen);
                    if (event.currentTarget.checked) next.add(keyOf(row));
                    else next.delete(keyOf(row));
                    choose(next);
                  }} />
                )}
                <button type="button" class="inbox-question" aria-current={open === row} onClick={() => pick(keyOf(row))}>
                  <span class="clip">{oneLine(questionOf(row.value), 120)}</span>
                  {detailOf(row.value, 160) && <span class="quiet clip mono">{detailOf(row.value, 160)}</span>}
                  <span class="quiet row"><span>{row.graph_id}</span><Time at={row.created_at} /></span>
                </button>
              </li>
            ))}
            {inbox.more && <li><Button small onClick={inbox.more}>Show more</Button></li>}
          </ul>
          <div class="answer">
            {open ? <Answer key={timeOf(open)} of={open} done={done} /> : <Nothing title="This question has been answered"><Button onClick={() => pick(null)}>Show the oldest</Button></Nothing>}
          </div>
        </div>
      )}
    </>
  );
}

interface Shown {
  rows: OpenInterrupt[] | null;
  /** Questions that had been answered here when the list was asked for. */
  answered: ReadonlySet<string>;
  total: number | null;
  error: Error | null;
  again: () => void;
  more: (() => void) | null;
}

const NONE: ReadonlySet<string> = new Set();

function useInbox(graph: string, answered: { current: ReadonlySet<string> }): Shown {
  const [most, setMost] = useState(PAGE);
  const filter = graph ? { graph_id: graph } : {};
  const found = useLoad(async (signal) => {
    const before = answered.current;
    const page = await callWithHeaders<OpenInterrupt[]>("/interrupts/search", { body: { ...filter, limit: most, offset: 0 }, signal });
    const total = await call<number>("/interrupts/count", { body: filter, signal });
    return { rows: page.body, answered: before, total, graph };
  }, [graph, most]);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  useChanges((changes) => {
    if (!concerns(changes, "thread")) return;
    timer.current ??= setTimeout(() => {
      timer.current = null;
      found.again();
    }, PAUSE_MS);
  }, [graph, most]);
  useEffect(() => () => void (timer.current !== null && clearTimeout(timer.current)), []);
  const rows = found.value?.graph === graph ? found.value.rows : null;
  return { rows, answered: found.value?.answered ?? NONE, total: found.value?.total ?? null, error: found.error, again: found.again, more: rows !== null && rows.length >= most && most < 1_000 ? () => setMost(Math.min(1_000, most + PAGE)) : null };
}

/** Codes of a refusal that no other answer changes: the question has been answered, or is gone with its thread. */
const OVER = [404, 409];

/** Sends answers; says how many were taken, and why others were not. Returns the questions that are over. */
async function respond(answers: { of: OpenInterrupt; response: Json }[]): Promise<OpenInterrupt[]> {
  const body = { answers: answers.map(({ of, response }) => ({ thread_id: of.thread_id, interrupt_id: of.interrupt_id, response })) };
  const outcomes = await call<Outcome[]>("/interrupts/respond", { body });
  const refused = outcomes.filter((outcome) => outcome.status === "refused");
  const taken = outcomes.length - refused.length;
  if (taken > 0) toast(taken === 1 ? "Answered: the run goes on" : `${taken} answered: their runs go on`);
  for (const outcome of refused.slice(0, 3)) toast(`Not answered: ${outcome.detail ?? "refused"}`, "bad");
  return answers.filter((_, index) => outcomes[index]?.status === "created" || OVER.includes(outcomes[index]?.code ?? 0)).map(({ of }) => of);
}

function Many({ picked, done }: { picked: OpenInterrupt[]; done: (taken: OpenInterrupt[]) => void }) {
  const answer = async (approve: boolean): Promise<void> => {
    done(await respond(picked.map((of) => {
      const actions = actionsOf(of.value);
      const decision: Decision = approve ? { type: "approve" } : { type: "reject", message: "" };
      return { of, response: actions.length > 0 ? decisionsOf(actions, actions.map(() => decision)) : approve };
    })));
  };
  return (
    <span class="row" role="group" aria-label="Answer the chosen questions">
      <span>{plural(picked.length, "question")} chosen</span>
      <ActionButton small kind="main" icon="check" act={() => answer(true)}>Approve all</ActionButton>
      <ActionButton small icon="close" act={() => answer(false)}>Reject all</ActionButton>
    </span>
  );
}

function Answer({ of, done }: { of: OpenInterrupt; done: (taken: OpenInterrupt[]) => void }) {
  const actions = useMemo(() => actionsOf(of.value), [of]);
  const send = async (response: Json): Promise<void> => {
    // refused for what it says: the form stays, with what was typed
    const taken = await respond([{ of, response }]);
    if (taken.length > 0) done(taken);
  };
  return (
    <article class="stack" aria-label="Question">
      <div class="row wrap">
        <Badge tone="wait">{of.graph_id}</Badge>
        <span class="quiet">asked</span>
        <Time at={of.created_at} />
        <span class="push row">
          <span class="quiet">thread</span> <Id id={of.thread_id} href={to("threads", of.thread_id)} />
          {of.run_id && <><span class="quiet">run</span> <Id id={of.run_id} href={to("threads", of.thread_id, "runs", of.run_id)} /></>}
        </span>
      </div>
      <p class="asked">{questionOf(of.value).slice(0, 4_000)}</p>
      {typeof of.value !== "string" && actions.length === 0 && detailOf(of.value, 10) !== "" && <div class="card"><JsonTree value={of.value} open={3} /></div>}
      {Object.keys(of.metadata).length > 0 && <details><summary>Metadata of the thread</summary><JsonTree value={of.metadata} open={1} /></details>}
      {readOnly ? <p class="quiet">This console only reads.</p> : actions.length > 0 ? <Actions actions={actions} send={send} /> : of.response_schema ? <BySchema of={of} send={send} /> : <Free send={send} />}
    </article>
  );
}

function Actions({ actions, send }: { actions: Action[]; send: (response: Json) => Promise<void> }) {
  const [decisions, setDecisions] = useState<Decision[]>(() => actions.map(firstDecision));
  const [wrong, setWrong] = useState<ReadonlySet<number>>(new Set());
  const mark = (index: number, isWrong: boolean): void => setWrong((before) => new Set([...before].filter((one) => one !== index).concat(isWrong ? [index] : [])));
  const decide = (index: number, decision: Decision): void => setDecisions(decisions.map((one, n) => (n === index ? decision : one)));
  return (
    <>
      {actions.map((action, index) => {
        const decision = decisions[index] as Decision;
        return (
          <fieldset class="card stack" key={index}>
            <legend class="mono">{action.name}</legend>
            {action.description && <p>{action.description.slice(0, 4_000)}</p>}
            {decision.type === "edit" ? <JsonField label={`Arguments of ${action.name}`} value={decision.args} onWrong={(isWrong) => mark(index, isWrong)} onChange={(args) => decide(index, { type: "edit", args: args as { [name: string]: Json } })} /> : <JsonTree value={action.args} open={3} name="args" />}
            <div class="row wrap" role="radiogroup" aria-label={`Decision on ${action.name}`}>
              {(["approve", "edit", "reject"] as const).filter((type) => action.allowed.includes(type)).map((type) => (
                <label class="row" key={type}>
                  <input type="radio" name={`decision-${index}`} checked={decision.type === type} onChange={() => decide(index, type === "edit" ? { type, args: action.args } : type === "reject" ? { type, message: "" } : { type })} /> {type}
                </label>
              ))}
            </div>
            {decision.type === "reject" && <input class="input" aria-label="Reason" placeholder="Why (the model reads it)" value={decision.message} onInput={(event) => decide(index, { type: "reject", message: event.currentTarget.value })} />}
          </fieldset>
        );
      })}
      <div class="row"><ActionButton kind="main" icon="check" disabled={wrong.size > 0} act={() => send(decisionsOf(actions, decisions))}>Answer</ActionButton></div>
    </>
  );
}

function BySchema({ of, send }: { of: OpenInterrupt; send: (response: Json) => Promise<void> }) {
  const schema = of.response_schema;
  const [value, setValue] = useState<Json>(() => initial(controlOf(schema ?? undefined, schema ?? {}), schema ?? undefined));
  const [wrong, setWrong] = useState(false);
  return (
    <>
      <SchemaForm schema={schema} value={value} onChange={setValue} onWrong={setWrong} label="Answer" />
      <div class="row"><ActionButton kind="main" icon="check" disabled={wrong} act={() => send(value)}>Answer</ActionButton></div>
    </>
  );
}

function Free({ send }: { send: (response: Json) => Promise<void> }) {
  const [kind, setKind] = useState<"text" | "json">("text");
  const [text, setText] = useState("");
  const [value, setValue] = useState<Json>({});
  const [wrong, setWrong] = useState(false);
  return (
    <>
      <div class="row wrap">
        {QUICK.map((quick, index) => (
          <ActionButton key={quick.title} kind={index === 0 ? "main" : "plain"} icon={index === 0 ? "check" : "close"} act={() => send(quick.response)} title={`Answers ${JSON.stringify(quick.response)}`}>{quick.title}</ActionButton>
        ))}
      </div>
      <div class="row" role="radiogroup" aria-label="Form of the answer">
        <label class="row"><input type="radio" name="kind" checked={kind === "text"} onChange={() => setKind("text")} /> text</label>
        <label class="row"><input type="radio" name="kind" checked={kind === "json"} onChange={() => { setKind("json"); setWrong(false); }} /> JSON</label>
      </div>
      {kind === "text" ? <textarea class="textarea" rows={4} aria-label="Answer" placeholder="Or answer in words" value={text} onInput={(event) => setText(event.currentTarget.value)} /> : <JsonField label="Answer" value={value} onChange={setValue} onWrong={setWrong} />}
      <div class="row"><ActionButton disabled={kind === "text" ? text === "" : wrong} act={() => send(kind === "text" ? text : value)}>{kind === "text" ? "Answer with this text" : "Answer with this JSON"}</ActionButton></div>
    </>
  );
}
