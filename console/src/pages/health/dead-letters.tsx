// Parked keys, their waiting records, and how they go on: retry, or drop of the first record for good.
import { useState } from "preact/hooks";
import { to } from "../../app/router";
import { call } from "../../api/client";
import { readOnly } from "../../app/mode";
import { useLoad } from "../../api/load";
import type { ParkedKey, ParkedRecord } from "../../api/operator";
import { ActionButton, Badge, Button, Failure, Loading, Time } from "../../ui/basic";
import { Dialog } from "../../ui/dialog";
import { oneLine, plural } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { toast } from "../../ui/toast";

export function DeadLetters({ keys }: { keys: number | null }) {
  const parked = useLoad((signal) => (keys ? call<ParkedKey[]>("/operator/dead-letters", { signal }) : Promise.resolve([])), [keys]);
  const [shown, setShown] = useState<string | null>(null);
  if (!keys) return null;
  return (
    <section class="card" aria-labelledby="dead-letters">
      <h2 id="dead-letters">Dead letters</h2>
      <p class="quiet">Each of these keys waits behind a record that cannot be handled. Mend the cause, then retry; or drop the record for good.</p>
      {parked.error && <Failure error={parked.error} again={parked.again} />}
      {parked.loading && !parked.value && <Loading />}
      {parked.value && (
        <ul class="parked">
          {parked.value.map((one) => (
            <li key={one.key}>
              <div class="row wrap">
                <a class="mono" href={to("log", { key: one.key })} title="Records of this key">{oneLine(one.key, 80)}</a>
                <span class="quiet">{`${plural(one.records, "record")} since`}</span>
                <Time at={one.since} />
                <span class="push row">
                  <Button small onClick={() => setShown(shown === one.key ? null : one.key)} aria-expanded={shown === one.key}>Records</Button>
                  {!readOnly && <Release parked={one} again={parked.again} />}
                </span>
              </div>
              <p class="mono reason">{`${one.first} ${one.type ?? "?"}: ${oneLine(one.error ?? "", 400)}`}</p>
              {shown === one.key && <Records of={one.key} />}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Release({ parked, again }: { parked: ParkedKey; again: () => void }) {
  const [asking, setAsking] = useState(false);
  const release = async (path: "retry" | "drop"): Promise<void> => {
    try {
      const body = path === "drop" ? { key: parked.key, origin: parked.first } : { key: parked.key };
      const done = await call<{ handled: number }>(`/operator/dead-letters/${path}`, { body });
      toast(`${plural(done.handled, "record")} of ${oneLine(parked.key, 40)} handled`);
    } finally {
      setAsking(false);
      again();
    }
  };
  return (
    <>
      <ActionButton small icon="refresh" act={() => release("retry")}>Retry</ActionButton>
      <Button small kind="danger" onClick={() => setAsking(true)}>Drop</Button>
      {asking && (
        <Dialog title={`Discard ${parked.first} for good?`} onClose={() => setAsking(false)}>
          <p>{`The record ${parked.type ?? ""} will never be handled. The others of its key are handled next. This cannot be undone.`}</p>
          <footer>
            <Button onClick={() => setAsking(false)}>Keep it</Button>
            <ActionButton kind="danger" act={() => release("drop")}>Discard it</ActionButton>
          </footer>
        </Dialog>
      )}
    </>
  );
}

function Records({ of }: { of: string }) {
  const records = useLoad((signal) => call<ParkedRecord[]>("/operator/dead-letters/records", { query: { key: of }, signal }), [of]);
  if (records.error) return <Failure error={records.error} again={records.again} />;
  if (!records.value) return <Loading lines={2} />;
  return (
    <ol class="waiting">
      {records.value.map((record) => (
        <li key={record.origin}>
          <span class="row wrap">
            <Badge tone={record.state === "bad" ? "bad" : "quiet"}>{record.state}</Badge>
            <span class="mono">{record.origin}</span>
            <span>{record.type ?? "?"}</span>
            <Time at={record.at} />
          </span>
          {record.error && <p class="reason mono">{oneLine(record.error, 400)}</p>}
          <JsonTree value={record.data} open={0} name="data" />
        </li>
      ))}
    </ol>
  );
}
