// Crons: when they fire next, what they have fired, pause, fire now, delete.
import { readOnly } from "../../app/mode";
import { query, setQuery, to } from "../../app/router";
import { concerns, useChanges } from "../../api/changes";
import { useAssistants, titleOf } from "../../api/assistants";
import { at, call } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Cron, Run } from "../../api/types";
import { ActionButton, Badge, Button, Failure, Id, Loading, Nothing, PageHead, Status, Time } from "../../ui/basic";
import { exact, plural, shortId } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { toast } from "../../ui/toast";
import { useRef, useState } from "preact/hooks";
import { Dialog } from "../../ui/dialog";

const MOST = 500;
const NEXT_SHOWN = 5;

const weekday = (moment: string): string => new Date(moment).toLocaleDateString("en", { weekday: "short" });

export default function Crons() {
  const filters = query.value;
  const enabled = filters.get("enabled") ?? "";
  const crons = useLoad((signal) => call<Cron[]>("/runs/crons/search", { body: { limit: MOST, ...(enabled ? { enabled: enabled === "on" } : {}) }, signal }), [enabled]);
  const assistants = useAssistants();
  useChanges((changes) => concerns(changes, "cron") && crons.again(), [enabled]);
  const names = new Map(assistants.value?.map((one) => [one.assistant_id, titleOf(one)]));
  const open = crons.value?.find((one) => one.cron_id === filters.get("cron"));
  return (
    <div class="page">
      <PageHead title="Crons">
        {crons.value && <span class="quiet number">{plural(crons.value.length, "cron")}</span>}
      </PageHead>
      <form class="filters" role="search" aria-label="Filter crons" onSubmit={(event) => event.preventDefault()}>
        <label>
          State
          <select class="select" value={enabled} onChange={(event) => setQuery({ enabled: event.currentTarget.value, cron: null })}>
            <option value="">any</option>
            <option value="on">on</option>
            <option value="off">paused</option>
          </select>
        </label>
      </form>
      <div class="page-body stack crons">
        {crons.error && <Failure error={crons.error} again={crons.again} />}
        {crons.loading && !crons.value && <Loading />}
        {crons.value?.length === 0 && (
          <Nothing title="No cron yet">
            <p>A cron creates runs on a schedule. From a program: client.crons.create(assistant_id, schedule="0 9 * * 1-5", input=…)</p>
          </Nothing>
        )}
        {crons.value && crons.value.length > 0 && (
          <div class="card">
            <table class="plain-table">
              <thead>
                <tr><th scope="col">Schedule</th><th scope="col">Assistant</th><th scope="col">State</th><th scope="col">Next firing</th><th scope="col">Thread</th><th scope="col"><span class="visually-hidden">What can be done</span></th></tr>
              </thead>
              <tbody>
                {crons.value.map((cron) => (
                  <tr key={cron.cron_id} class={cron === open ? "chosen" : ""}>
                    <td><button type="button" class="button bare mono" aria-expanded={cron === open} onClick={() => setQuery({ cron: cron === open ? null : cron.cron_id })}>{cron.schedule}</button>{cron.timezone && <span class="quiet"> {cron.timezone}</span>}</td>
                    <td>{names.get(cron.assistant_id) ?? <Id id={cron.assistant_id} copy={false} />}</td>
                    <td><Badge tone={cron.enabled === false ? "wait" : "ok"}>{cron.enabled === false ? "paused" : "on"}</Badge></td>
                    <td>{cron.enabled === false ? <span class="quiet">–</span> : <span title={cron.next_run_date ? exact(cron.next_run_date) : undefined}><Time at={cron.next_run_date} /></span>}</td>
                    <td>{cron.thread_id ? <Id id={cron.thread_id} href={to("threads", cron.thread_id)} copy={false} /> : <span class="quiet">a new one each time</span>}</td>
                    <td>{!readOnly && <Actions cron={cron} again={crons.again} />}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        {open && <Details key={open.cron_id} cron={open} />}
      </div>
    </div>
  );
}

function Actions({ cron, again }: { cron: Cron; again: () => void }) {
  const [asking, setAsking] = useState(false);
  const path = at`/runs/crons/${cron.cron_id}`;
  return (
    <span class="row">
      <ActionButton small icon="play" act={async () => {
        const run = await call<Run>(`${path}/fire`, { method: "POST" });
        toast(`Fired: run ${shortId(run.run_id)}`);
        setQuery({ cron: cron.cron_id });
        again();
      }}>Fire now</ActionButton>
      <ActionButton small act={async () => { await call(path, { method: "PATCH", body: { enabled: cron.enabled === false } }); again(); }}>{cron.enabled === false ? "Resume" : "Pause"}</ActionButton>
      <Button small kind="danger" onClick={() => setAsking(true)}>Delete</Button>
      {asking && (
        <Dialog title={`Delete the cron ${cron.schedule}?`} onClose={() => setAsking(false)}>
          <p>It no longer fires. Runs that it has created are kept.</p>
          <footer>
            <Button onClick={() => setAsking(false)}>Keep it</Button>
            <ActionButton kind="danger" act={async () => { await call(path, { method: "DELETE" }); setAsking(false); again(); }}>Delete it</ActionButton>
          </footer>
        </Dialog>
      )}
    </span>
  );
}

function Details({ cron }: { cron: Cron }) {
  const runs = useLoad((signal) => call<Run[]>("/runs/search", { body: { cron_id: cron.cron_id, limit: 20 }, signal }), [cron.cron_id]);
  const shown = useRef(runs.value);
  shown.current = runs.value;
  useChanges((changes) => {
    const isGone = changes.deleted?.some(({ id }) => shown.current?.some((run) => run.run_id === id || run.thread_id === id));
    if (isGone || changes.stale?.includes("runs") || changes.runs?.some((run) => run.metadata["cron_id"] === cron.cron_id)) runs.again();
  }, [cron.cron_id]);
  const next = useLoad((signal) => call<string[]>(at`/runs/crons/${cron.cron_id}/firings`, { query: { limit: NEXT_SHOWN }, signal }), [cron.cron_id, cron.next_run_date, cron.enabled, cron.end_time]);
  return (
    <section class="card stack" aria-label="Cron">
      <div class="row wrap"><strong class="mono">{cron.schedule}</strong><Id id={cron.cron_id} />{cron.end_time && <span class="quiet">{`until ${exact(cron.end_time)}`}</span>}</div>
      <section aria-label="Next firings" class="stack">
        <h2>Next firings</h2>
        {next.error && <Failure error={next.error} again={next.again} />}
        {next.value?.length === 0 && <p class="quiet">{cron.enabled === false ? "None while it is paused." : "None: its end has come."}</p>}
        {next.value && next.value.length > 0 && (
          <ol class="firings">
            {next.value.map((moment) => (
              <li key={moment} class="row"><span class="number">{weekday(moment)} {exact(moment).slice(0, 19)}</span><span class="quiet"><Time at={moment} /></span></li>
            ))}
          </ol>
        )}
        {next.value && next.value.length > 0 && <p class="quiet">In your time zone{cron.timezone ? `; the schedule is in ${cron.timezone}` : "; the schedule is in UTC"}.</p>}
      </section>
      <h2>Past firings</h2>
      {runs.error && <Failure error={runs.error} again={runs.again} />}
      {runs.value?.length === 0 && <p class="quiet">It has not fired, or its runs were deleted with their threads.</p>}
      {runs.value && runs.value.length > 0 && (
        <ul class="firings">
          {runs.value.map((run) => (
            <li key={run.run_id} class="row"><Time at={run.created_at} /><Status of={run.status} /><Id id={run.run_id} href={to("threads", run.thread_id, "runs", run.run_id)} /></li>
          ))}
        </ul>
      )}
      <JsonTree value={cron.payload} open={1} name="payload" />
      <JsonTree value={cron.metadata} open={1} name="metadata" />
    </section>
  );
}
