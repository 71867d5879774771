import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogRecord } from "../../api/operator";
import { apiQuery, causeOf, commandOf, moment, prepended, ROWS_KEPT, toneOf } from "./records";

const NOW = Date.parse("2026-01-31T12:00:00Z");
const record = (offset: number, headers: Record<string, string> = {}): LogRecord => ({ topic: "run-events", partition: 3, offset, key: "k", type: "run.created.v1", time: null, bytes: 2, headers, data: {}, omitted: null });

test("times are ISO or how long ago", () => {
  assert.equal(moment("15m", NOW), "2026-01-31T11:45:00.000Z");
  assert.equal(moment("2d", NOW), "2026-01-29T12:00:00.000Z");
  assert.equal(moment("2026-01-01T00:00:00Z", NOW), "2026-01-01T00:00:00.000Z");
  assert.throws(() => moment("yesterday", NOW), /is no time/);
});

test("the address becomes the query, without what is empty", () => {
  assert.deepEqual(apiQuery(new URLSearchParams("topic=commands&key=&type=run.&from=1h&more=1"), NOW), { topic: "commands", type: "run.", from: "2026-01-31T11:00:00.000Z" });
});

test("new records come above, once, and the oldest go", () => {
  const rows = prepended([record(1)], [record(1), record(2), record(3)]);
  assert.deepEqual(rows.map((row) => row.offset), [3, 2, 1]);
  assert.equal(prepended(rows, [record(3)]), rows);
  const many = Array.from({ length: ROWS_KEPT + 10 }, (_, n) => record(n));
  assert.equal(prepended([], many).length, ROWS_KEPT);
});

test("the command line shows the same, whatever the filter holds", () => {
  assert.equal(commandOf(new URLSearchParams({ topic: "commands", key: "it's" })), "langlog log tail --topic 'commands' --key 'it'\\''s'");
});

test("a decided record leads to its command", () => {
  assert.deepEqual(causeOf(record(1, { ce_cause: "3-17-0-2" })), { topic: "commands", partition: 3, offset: 17 });
  assert.equal(causeOf(record(1)), null);
  assert.equal(causeOf(record(1, { ce_cause: "nonsense" })), null);
});

test("failures stand out", () => {
  assert.equal(toneOf("run.failed.v1"), "bad");
  assert.equal(toneOf("run.succeeded.v1"), "ok");
  assert.equal(toneOf("checkpoint.written.v1"), "quiet");
});
