// Findings, the queue, workers, readers of the log, dead letters and webhooks; live by the server's own stream.
import { useEffect, useState } from "preact/hooks";
import { to } from "../../app/router";
import { ApiError, credentials, follow } from "../../api/client";
import type { Finding, Group, SystemHealth, Worker } from "../../api/operator";
import { Badge, Failure, Id, Loading, PageHead, Time, type Tone } from "../../ui/basic";
import { ago, duration, oneLine, plural } from "../../ui/format";
import { DeadLetters } from "./dead-letters";
import { nameOf, rates, sampled, spark, type Sample } from "./rates";

const TONES: Record<Finding["severity"], Tone> = { error: "bad", warning: "wait", info: "quiet" };

export default function Health() {
  const [health, setHealth] = useState<SystemHealth | null>(null);
  const [samples, setSamples] = useState<Sample[]>([]);
  const [error, setError] = useState<ApiError | null>(null);
  useEffect(() => {
    setHealth(null);
    setSamples([]);
    setError(null);
    return follow("/operator/health", {
      onOpen: () => setError(null),
      onWaiting: setError,
      onEvent: (event) => {
        if (event.event !== "health") return;
        const view = JSON.parse(event.data) as SystemHealth;
        setHealth(view);
        setSamples((before) => sampled(before, view));
      },
      onRefused: setError,
      onEnd: () => true,
    });
  }, [credentials.value]);
  return (
    <div class="page">
      <PageHead title="Health">
        {health && <Badge tone={health.ready ? "ok" : "bad"}>{health.ready ? "ready" : "not ready"}</Badge>}
        {health && <span class="quiet number nowrap">{`as of ${new Date(health.at).toLocaleTimeString("en-GB")}`}</span>}
      </PageHead>
      <div class="page-body stack health">
        {error && <Failure error={error} />}
        {!health && !error && <Loading lines={8} />}
        {health && (
          <>
            <Findings findings={health.findings} />
            <Figures health={health} />
            <Workers workers={health.workers} />
            <Readers groups={health.groups} samples={samples} />
            <DeadLetters keys={health.parked_keys} />
            <Webhooks health={health} />
          </>
        )}
      </div>
    </div>
  );
}

function Findings({ findings }: { findings: Finding[] }) {
  if (findings.length === 0) {
    return (
      <section class="card row" aria-label="Findings">
        <Badge tone="ok">nothing is wrong</Badge>
        <span class="quiet">All servers answer, workers are alive, and nothing waits for long.</span>
      </section>
    );
  }
  return (
    <section class="card" aria-label="Findings">
      <ul class="findings">
        {findings.map((finding) => (
          <li key={finding.text}>
            <Badge tone={TONES[finding.severity]}>{finding.about}</Badge>
            <span>{oneLine(finding.text, 400)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Figures({ health }: { health: SystemHealth }) {
  const runs = health.runs;
  const slots = health.workers?.reduce((sum, worker) => sum + (worker.lease_s > 0 ? (worker.about?.slots ?? 0) : 0), 0);
  const oldest = runs?.oldest_run_id && runs.oldest_thread_id ? to("threads", runs.oldest_thread_id, "runs", runs.oldest_run_id) : undefined;
  return (
    <section class="figures" aria-label="Figures">
      <Figure title="Running" value={runs?.running} of={slots === undefined ? undefined : `${slots.toLocaleString("en")} slots`} />
      <Figure title="Pending" value={runs?.pending} of={runs && runs.delayed > 0 ? `${runs.delayed.toLocaleString("en")} delayed` : undefined} />
      <Figure title="Waiting for a worker" value={health.queued} of={runs?.unblocked_wait_s == null ? undefined : `oldest ${duration(runs.unblocked_wait_s * 1000)}`} href={oldest} />
      <Figure title="Parked keys" value={health.parked_keys} of={health.parked_records ? plural(health.parked_records, "record") : undefined} bad={(health.parked_keys ?? 0) > 0} />
      <Figure title="Webhooks under way" value={health.webhooks_waiting} of={health.webhooks_given_up ? `${health.webhooks_given_up.toLocaleString("en")} given up` : undefined} bad={(health.webhooks_given_up ?? 0) > 0} />
    </section>
  );
}

function Figure({ title, value, of, bad, href }: { title: string; value: number | null | undefined; of?: string | undefined; bad?: boolean; href?: string | undefined }) {
  return (
    <div class={`card figure${bad ? " bad" : ""}`}>
      <span class="quiet">{title}</span>
      <strong class="number">{value == null ? "–" : value.toLocaleString("en")}</strong>
      {of && <span class="quiet number">{href ? <a href={href}>{of}</a> : of}</span>}
    </div>
  );
}

function Workers({ workers }: { workers: Worker[] | null }) {
  return (
    <section class="card" aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      {workers === null && <p class="quiet">Redis cannot be reached.</p>}
      {workers?.length === 0 && <p class="quiet">No worker has a lease. Start an executor.</p>}
      {workers && workers.length > 0 && (
        <table class="plain-table">
          <thead>
            <tr>
              <th scope="col">Worker</th>
              <th scope="col">Host</th>
              <th scope="col">Started</th>
              <th scope="col" class="right">Lease</th>
              <th scope="col" class="right">Runs</th>
              <th scope="col">Graphs</th>
            </tr>
          </thead>
          <tbody>
            {workers.map((worker) => (
              <tr key={worker.worker_id}>
                <td><Id id={worker.worker_id} /></td>
                <td class="quiet">{worker.about ? `${worker.about.host}, pid ${worker.about.pid}` : "–"}</td>
                <td class="quiet number nowrap">{worker.about ? ago(new Date(worker.about.started_ms).toISOString(), Date.now()) : "–"}</td>
                <td class="right number nowrap">
                  {worker.lease_s > 0 ? `${worker.lease_s.toFixed(0)} s` : <Badge tone="bad">{`silent for ${(-worker.lease_s).toFixed(0)} s`}</Badge>}
                </td>
                <td class="right number">{`${worker.held}${worker.about ? ` of ${worker.about.slots}` : ""}`}</td>
                <td>
                  <span class="row wrap">
                    {worker.about?.graphs.slice(0, 12).map((graph) => (
                      <Badge key={graph} tone={worker.about?.blocked.includes(graph) ? "bad" : "quiet"} plain={!worker.about?.blocked.includes(graph)}>
                        {worker.about?.blocked.includes(graph) ? `${graph} blocks a loop` : graph}
                      </Badge>
                    ))}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Readers({ groups, samples }: { groups: Group[] | null; samples: Sample[] }) {
  return (
    <section class="card" aria-labelledby="readers">
      <h2 id="readers">Readers of the log</h2>
      {groups === null && <p class="quiet">Log or Postgres cannot be reached.</p>}
      {groups && (
        <table class="plain-table">
          <thead>
            <tr>
              <th scope="col">Group</th>
              <th scope="col">Topic</th>
              <th scope="col" class="right">Lag</th>
              <th scope="col" class="right">Partitions behind</th>
              <th scope="col" class="right">Read</th>
              <th scope="col" class="right">Rate</th>
              <th scope="col"><span class="visually-hidden">Rate over time</span></th>
            </tr>
          </thead>
          <tbody>
            {groups.map((group) => {
              const values = rates(samples, nameOf(group));
              const last = values.at(-1);
              return (
                <tr key={nameOf(group)}>
                  <td>{group.group}</td>
                  <td class="mono">{group.topic}</td>
                  <td class="right number">{group.lag > 0 ? <Badge tone={group.lag >= 1000 ? "wait" : "busy"}>{group.lag.toLocaleString("en")}</Badge> : <span class="quiet">0</span>}</td>
                  <td class="right number quiet">{`${group.partitions_behind} of ${group.partitions}`}</td>
                  <td class="right number quiet">{group.position.toLocaleString("en")}</td>
                  <td class="right number nowrap">{last === undefined ? <span class="quiet">–</span> : `${last < 10 ? last.toFixed(1) : Math.round(last).toLocaleString("en")}/s`}</td>
                  <td>
                    <svg class="spark" viewBox="0 0 120 22" aria-hidden="true">
                      <path d={spark(values, 120, 22)} />
                    </svg>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Webhooks({ health }: { health: SystemHealth }) {
  if (!health.webhooks || health.webhooks.length === 0) return null;
  return (
    <section class="card" aria-labelledby="webhooks">
      <h2 id="webhooks">Webhooks under way</h2>
      <table class="plain-table">
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">Receiver</th>
            <th scope="col" class="right">Attempts</th>
            <th scope="col">Next attempt</th>
            <th scope="col">Last outcome</th>
          </tr>
        </thead>
        <tbody>
          {health.webhooks.map((hook) => (
            <tr key={hook.run_id}>
              <td><Id id={hook.run_id} href={to("threads", hook.thread_id, "runs", hook.run_id)} /></td>
              <td class="clip" title={hook.url}>{oneLine(hook.url, 90)}</td>
              <td class="right number">{hook.attempts}</td>
              <td><Time at={hook.next_attempt_at} /></td>
              <td class="quiet">{hook.last_attempt === null ? "–" : oneLine(JSON.stringify(hook.last_attempt), 90)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
