-- One statement per table; those that write new and changed rows are executed as one (`apply.together`). Parameters are arrays, one
-- element per row; removals run first.

-- name: claim_positions
-- Advances the positions, provided that they are where they were: a former owner of the partition finds them changed and stops.
UPDATE positions p
SET "offset" = n.after, cause_offset = n.cause_offset, cause_index = n.cause_index, cause_count = n.cause_count
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::int[])
    AS n (topic, part, before, after, cause_offset, cause_index, cause_count)
WHERE p.topic = n.topic AND p.part = n.part AND p."offset" = n.before

-- name: index_events
-- Stores the positions of the batch's events, beside `claim_positions`. Each bucket is written once, since each batch is folded once.
INSERT INTO thread_events AS e (thread_id, bucket, run_id, entries, first_at, last_at)
SELECT n.thread_id, n.bucket, n.run_id, n.entries, n.first_at, n.last_at
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::timestamptz[], $6::timestamptz[], $7::bool[])
    AS n (thread_id, bucket, run_id, entries, first_at, last_at, made)
WHERE n.made OR EXISTS (SELECT FROM threads t WHERE t.thread_id = n.thread_id)
ON CONFLICT (thread_id, bucket, run_id) DO UPDATE
SET entries = e.entries || EXCLUDED.entries,
    first_at = LEAST(e.first_at, EXCLUDED.first_at), last_at = GREATEST(e.last_at, EXCLUDED.last_at)

-- name: index_again
-- Inserts threads that were deleted and created again within the batch, after their removal.
INSERT INTO thread_events (thread_id, bucket, run_id, entries, first_at, last_at)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::timestamptz[], $6::timestamptz[])

-- name: write_nothing
UPDATE positions SET "offset" = "offset" WHERE false

-- name: open_positions
INSERT INTO positions (topic, part, "offset")
SELECT topic, part, 0 FROM unnest($1::text[], $2::int[]) AS n (topic, part)
ON CONFLICT DO NOTHING

-- name: read_positions
SELECT p.topic, p.part, p."offset", p.cause_offset, p.cause_index, p.cause_count
FROM positions p JOIN unnest($1::text[], $2::int[]) AS n (topic, part) USING (topic, part)

-- name: read_attempts
SELECT run_id, attempt FROM runs WHERE status IN ('pending', 'running') AND attempt > 0

-- name: part_keys
-- The received parts of unfinished bodies, with their threads; of one without a run, or whose run is not known, that is NULL.
SELECT p.blob_id, p.idx, p.run_id, r.thread_id FROM checkpoint_parts p LEFT JOIN runs r ON r.run_id = p.run_id

-- name: read_parts
SELECT p.blob_id, p.idx, p.data FROM unnest($1::text[], $2::int[]) AS n (blob_id, idx) JOIN checkpoint_parts p USING (blob_id, idx)

-- name: insert_webhooks
-- Self-contained: run and thread may be deleted before the delivery. Rows of earlier batches are looked up as they are before
-- this one.
INSERT INTO webhooks (run_id, part, thread_id, url, status, ended_at, attempt, started_at, error, state_values, assistant_id, metadata,
                      kwargs, multitask_strategy, created_at, next_attempt_at, user_id)
SELECT n.run_id, n.part, n.thread_id, n.url, n.status, n.ended_at, n.attempt, COALESCE(n.started_at, r.started_at), n.error,
       CASE WHEN COALESCE(n.temporary, r.temporary) THEN NULL
            WHEN n.look_up_values THEN t.state_values::text
            ELSE NULLIF(n.state_values::jsonb, 'null')::text END,  -- as it reads when it is looked up
       COALESCE(n.assistant_id, r.assistant_id), COALESCE(n.metadata::jsonb, r.metadata), COALESCE(n.kwargs, r.kwargs),
       COALESCE(n.multitask_strategy, r.multitask_strategy), COALESCE(n.created_at, r.created_at), n.ended_at,
       COALESCE(n.user_id, r.user_id)
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::int[], $8::timestamptz[], $9::text[],
            $10::text[], $11::bool[], $12::text[], $13::text[], $14::text[], $15::text[], $16::timestamptz[], $17::bool[],
            $18::text[])
    AS n (run_id, part, thread_id, url, status, ended_at, attempt, started_at, error, state_values, look_up_values, assistant_id,
          metadata, kwargs, multitask_strategy, created_at, temporary, user_id)
LEFT JOIN runs r ON r.run_id = n.run_id AND n.kwargs IS NULL
LEFT JOIN threads t ON t.thread_id = n.thread_id AND n.look_up_values
WHERE n.kwargs IS NOT NULL OR r.run_id IS NOT NULL
ON CONFLICT (run_id) DO NOTHING

-- name: note_webhook_try
-- A try counts once, in order. With the last one the payload is removed, unless it is kept ($9) to be sent again. Its time is also the partition's clock: deliveries that
-- have been settled for long enough are removed. (A clock over all partitions would depend on how they are read.)
WITH noted AS (
    UPDATE webhooks
    SET attempts = $2, attempt_log = attempt_log || $3::jsonb, next_attempt_at = $4, settled_at = $5, delivered = $6,
        kwargs = CASE WHEN $5::timestamptz IS NULL OR $9 THEN kwargs END,
        state_values = CASE WHEN $5::timestamptz IS NULL OR $9 THEN state_values END
    WHERE run_id = $1 AND attempts = $2 - 1 AND settled_at IS NULL
)
DELETE FROM webhooks WHERE part = $7 AND settled_at < $8

-- name: webhook_due_again
-- Only of a delivery that was given up after so many tries ($2), and has its payload. It has as many tries as a new one, counted from the one
-- that is marked here.
UPDATE webhooks SET next_attempt_at = $3, settled_at = NULL, attempt_log = jsonb_set(attempt_log, '{-1,sent_again}', 'true')
WHERE run_id = $1 AND attempts = $2 AND settled_at IS NOT NULL AND NOT delivered AND kwargs IS NOT NULL

-- name: remove_threads
-- With their last metadata, by which gateways decide which callers are notified of the removal.
WITH gone AS (DELETE FROM threads WHERE thread_id = ANY ($1::text[]) RETURNING thread_id, metadata::text AS metadata),
     runs_gone AS (DELETE FROM runs WHERE thread_id = ANY ($1::text[])),
     frames_gone AS (DELETE FROM frames WHERE thread_id = ANY ($1::text[])),
     events_gone AS (DELETE FROM thread_events WHERE thread_id = ANY ($1::text[])),
     checkpoints_gone AS (DELETE FROM checkpoints WHERE thread_id = ANY ($1::text[])),
     blobs_gone AS (DELETE FROM checkpoint_blobs WHERE thread_id = ANY ($1::text[])),
     writes_gone AS (DELETE FROM checkpoint_writes WHERE thread_id = ANY ($1::text[]))
SELECT thread_id, metadata FROM gone

-- name: remove_checkpoints
WITH checkpoints_gone AS (DELETE FROM checkpoints WHERE thread_id = ANY ($1::text[])),
     blobs_gone AS (DELETE FROM checkpoint_blobs WHERE thread_id = ANY ($1::text[]))
DELETE FROM checkpoint_writes WHERE thread_id = ANY ($1::text[])

-- name: restore_replaced_writes
-- Restores special writes of other runs that those of removed runs have replaced: of several, that of the newest run.
WITH n AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS n (thread_id, run_id)
), latest AS (
    SELECT DISTINCT ON (w.thread_id, w.ns, w.checkpoint_id, w.task_id, w.idx)
           w.thread_id, w.ns, w.checkpoint_id, w.task_id, w.idx, k.checkpoint_id AS kept_checkpoint, k.task_id AS kept_task,
           k.task_path, k.channel, k.type, k.data, k.run_id
    FROM n
    JOIN checkpoint_writes w ON w.thread_id = n.thread_id AND w.run_id = n.run_id AND w.idx < 0
    JOIN checkpoint_writes k ON k.thread_id = w.thread_id AND k.ns = w.ns AND k.checkpoint_id = 'replaced ' || w.checkpoint_id
        AND k.task_id = w.task_id || ' ' || coalesce(k.run_id, '') AND k.idx = w.idx
    LEFT JOIN runs r ON r.run_id = k.run_id
    WHERE NOT EXISTS (SELECT 1 FROM n gone WHERE gone.thread_id = k.thread_id AND gone.run_id = k.run_id)
    ORDER BY w.thread_id, w.ns, w.checkpoint_id, w.task_id, w.idx, r.ordinal DESC NULLS LAST
), taken AS (
    DELETE FROM checkpoint_writes k USING latest l
    WHERE k.thread_id = l.thread_id AND k.ns = l.ns AND k.checkpoint_id = l.kept_checkpoint AND k.task_id = l.kept_task AND k.idx = l.idx
)
UPDATE checkpoint_writes w
SET task_path = l.task_path, channel = l.channel, type = l.type, data = l.data, run_id = l.run_id
FROM latest l
WHERE w.thread_id = l.thread_id AND w.ns = l.ns AND w.checkpoint_id = l.checkpoint_id AND w.task_id = l.task_id AND w.idx = l.idx

-- name: remove_run_checkpoints
WITH gone AS (
    DELETE FROM checkpoints c
    USING unnest($1::text[], $2::text[]) AS n (thread_id, run_id)
    WHERE c.thread_id = n.thread_id AND c.run_id = n.run_id
    RETURNING c.thread_id, c.ns, c.checkpoint_id
)
DELETE FROM checkpoint_writes w
WHERE EXISTS (
    SELECT 1 FROM gone g
    WHERE g.thread_id = w.thread_id AND g.ns = w.ns AND w.checkpoint_id IN (g.checkpoint_id, 'replaced ' || g.checkpoint_id)
) OR EXISTS (
    SELECT 1 FROM unnest($1::text[], $2::text[]) AS n (thread_id, run_id)
    WHERE w.thread_id = n.thread_id AND w.run_id = n.run_id
)

-- name: remove_runs
WITH frames_gone AS (DELETE FROM frames WHERE run_id = ANY ($1::text[]))
DELETE FROM runs WHERE run_id = ANY ($1::text[])

-- name: keep_latest
-- Removes all checkpoints but the head of each namespace. A head that has a channel without a value of its own (a delta channel between two
-- snapshots) needs its ancestors: such a thread keeps the chain of its head, and loses only the checkpoints beside it.
WITH RECURSIVE heads AS (
    SELECT DISTINCT ON (thread_id, ns) thread_id, ns, checkpoint_id, parent_id, metadata ? 'counters_since_delta_snapshot' AS delta
    FROM checkpoints WHERE thread_id = ANY ($1::text[])
    ORDER BY thread_id, ns, log_position DESC, checkpoint_id DESC
), kept AS (
    SELECT thread_id, ns, checkpoint_id, parent_id, delta FROM heads
    UNION
    SELECT c.thread_id, c.ns, c.checkpoint_id, c.parent_id, k.delta
    FROM kept k JOIN checkpoints c
        ON k.delta AND c.thread_id = k.thread_id AND c.ns = k.ns AND c.checkpoint_id = k.parent_id
), gone AS (
    DELETE FROM checkpoints c
    WHERE c.thread_id = ANY ($1::text[]) AND NOT EXISTS (
        SELECT 1 FROM kept k WHERE k.thread_id = c.thread_id AND k.ns = c.ns AND k.checkpoint_id = c.checkpoint_id
    )
    RETURNING c.thread_id, c.ns, c.checkpoint_id
)
DELETE FROM checkpoint_writes w
USING gone g WHERE g.thread_id = w.thread_id AND g.ns = w.ns AND w.checkpoint_id IN (g.checkpoint_id, 'replaced ' || g.checkpoint_id)

-- name: note_thinned
UPDATE threads t SET thinned_at = n.at
FROM unnest($1::text[], $2::timestamptz[]) AS n (thread_id, at) WHERE t.thread_id = n.thread_id

-- name: remove_orphan_blobs
DELETE FROM checkpoint_blobs b
WHERE b.thread_id = ANY ($1::text[]) AND NOT EXISTS (
    SELECT 1 FROM checkpoints c
    WHERE c.thread_id = b.thread_id AND c.ns = b.ns AND c.versions ->> b.channel = b.version
)

-- name: insert_threads
INSERT INTO threads (thread_id, created_at, updated_at, state_updated_at, metadata, status, config, state_values, interrupts, error,
                     ttl_minutes, ttl_strategy, has_checkpoints, frame_ms, settled, seq, status_when_idle)
SELECT n.thread_id, n.created_at, n.updated_at, n.state_updated_at, n.metadata::jsonb, n.status, n.config::jsonb,
       NULLIF(n.state_values::jsonb, 'null'), n.interrupts::jsonb, NULLIF(n.error::jsonb, 'null'),
       n.ttl_minutes, n.ttl_strategy, COALESCE(n.has_checkpoints, false), COALESCE(n.frame_ms, 0), COALESCE(n.settled, -1), COALESCE(n.seq, 0),
       COALESCE(n.status_when_idle, 'idle')
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::float8[], $12::text[], $13::bool[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[])
    AS n (thread_id, created_at, updated_at, state_updated_at, metadata, status, config, state_values, interrupts, error,
          ttl_minutes, ttl_strategy, has_checkpoints, frame_ms, settled, seq, status_when_idle)
ON CONFLICT (thread_id) DO NOTHING

-- name: update_threads
UPDATE threads t
SET updated_at = n.updated_at,
    state_updated_at = COALESCE(n.state_updated_at, t.state_updated_at),
    metadata = COALESCE(n.metadata::jsonb, t.metadata),
    status = COALESCE(n.status, t.status),
    config = COALESCE(n.config::jsonb, t.config),
    state_values = CASE WHEN n.state_values IS NULL THEN t.state_values ELSE NULLIF(n.state_values::jsonb, 'null') END,
    interrupts = COALESCE(n.interrupts::jsonb, t.interrupts),
    error = CASE WHEN n.error IS NULL THEN t.error ELSE NULLIF(n.error::jsonb, 'null') END,
    ttl_minutes = COALESCE(n.ttl_minutes, t.ttl_minutes),
    ttl_strategy = COALESCE(n.ttl_strategy, t.ttl_strategy),
    has_checkpoints = COALESCE(n.has_checkpoints, t.has_checkpoints),
    frame_ms = GREATEST(n.frame_ms, t.frame_ms),
    settled = COALESCE(n.settled, t.settled),
    seq = GREATEST(n.seq, t.seq),
    status_when_idle = COALESCE(n.status_when_idle, t.status_when_idle)
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::float8[], $11::text[], $12::bool[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[])
    AS n (thread_id, updated_at, state_updated_at, metadata, status, config, state_values, interrupts, error,
          ttl_minutes, ttl_strategy, has_checkpoints, frame_ms, settled, seq, status_when_idle)
WHERE t.thread_id = n.thread_id

-- name: insert_runs
INSERT INTO runs (run_id, thread_id, ordinal, assistant_id, graph_id, created_at, updated_at, status, metadata, kwargs,
                  multitask_strategy, not_before, temporary, attempt, crashes, cancel, superseded_by, dispatched_at, started_at,
                  ended_at, error, output, frame_count, first_event_number, last_event_number, user_id, cancel_reason)
SELECT n.run_id, n.thread_id, n.ordinal, n.assistant_id, n.graph_id, n.created_at, n.updated_at, n.status, n.metadata::jsonb, n.kwargs,
       n.multitask_strategy, n.not_before, n.temporary, COALESCE(n.attempt, 0), COALESCE(n.crashes, 0), n.cancel, n.superseded_by,
       n.dispatched_at, n.started_at, n.ended_at, n.error::jsonb, n.output, COALESCE(n.frame_count, 0),
       COALESCE(n.first_event_number, 0), COALESCE(n.last_event_number, 0), n.user_id, n.cancel_reason
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::bool[], $14::int[], $15::int[], $16::text[], $17::text[],
            $18::timestamptz[], $19::timestamptz[], $20::timestamptz[], $21::text[], $22::text[], $23::int[],
            $24::bigint[], $25::bigint[], $26::text[], $27::text[])
    AS n (run_id, thread_id, ordinal, assistant_id, graph_id, created_at, updated_at, status, metadata, kwargs,
          multitask_strategy, not_before, temporary, attempt, crashes, cancel, superseded_by, dispatched_at, started_at,
          ended_at, error, output, frame_count, first_event_number, last_event_number, cancel_reason, user_id)
ON CONFLICT (run_id) DO NOTHING

-- name: update_runs
UPDATE runs r
SET updated_at = n.updated_at,
    status = COALESCE(n.status, r.status),
    attempt = COALESCE(n.attempt, r.attempt),
    crashes = COALESCE(n.crashes, r.crashes),
    cancel = COALESCE(n.cancel, r.cancel),
    superseded_by = COALESCE(n.superseded_by, r.superseded_by),
    dispatched_at = COALESCE(n.dispatched_at, r.dispatched_at),
    started_at = COALESCE(n.started_at, r.started_at),
    ended_at = COALESCE(n.ended_at, r.ended_at),
    error = COALESCE(n.error::jsonb, r.error),
    output = COALESCE(n.output, r.output),
    frame_count = COALESCE(n.frame_count, r.frame_count),
    first_event_number = COALESCE(n.first_event_number, r.first_event_number),
    last_event_number = COALESCE(n.last_event_number, r.last_event_number),
    cancel_reason = COALESCE(n.cancel_reason, r.cancel_reason)
FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::int[], $5::int[], $6::text[], $7::text[], $8::timestamptz[],
            $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::int[], $14::bigint[], $15::bigint[],
            $16::text[])
    AS n (run_id, updated_at, status, attempt, crashes, cancel, superseded_by, dispatched_at,
          started_at, ended_at, error, output, frame_count, first_event_number, last_event_number, cancel_reason)
WHERE r.run_id = n.run_id

-- name: insert_checkpoints
INSERT INTO checkpoints (thread_id, ns, checkpoint_id, parent_id, run_id, log_position, type, data, metadata, versions)
SELECT n.thread_id, n.ns, n.checkpoint_id, n.parent_id, n.run_id, n.log_position, n.type, n.data, n.metadata::jsonb, n.versions::jsonb
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bytea[], $9::text[], $10::text[])
    AS n (thread_id, ns, checkpoint_id, parent_id, run_id, log_position, type, data, metadata, versions)
ON CONFLICT (thread_id, ns, checkpoint_id) DO UPDATE
SET type = EXCLUDED.type, data = EXCLUDED.data, metadata = EXCLUDED.metadata, versions = EXCLUDED.versions

-- name: insert_blobs
-- A version written twice (by hand; langgraph's own are unique) has the value of the last write, in one batch and over two.
INSERT INTO checkpoint_blobs AS b (thread_id, ns, channel, version, type, data)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])
ON CONFLICT (thread_id, ns, channel, version) DO UPDATE SET type = EXCLUDED.type, data = EXCLUDED.data

-- name: keep_replaced_writes
-- Keeps special writes of other runs that `insert_writes` replaces, under a checkpoint id that no reader asks for, until the run that
-- replaces them is removed (`restore_replaced_writes`). $6: each run that wrote there in this batch.
WITH n AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[])
        AS n (thread_id, ns, checkpoint_id, task_id, idx, run_id)
)
INSERT INTO checkpoint_writes (thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, type, data, run_id)
SELECT w.thread_id, w.ns, 'replaced ' || w.checkpoint_id, w.task_id || ' ' || coalesce(w.run_id, ''), w.idx, w.task_path, w.channel,
       w.type, w.data, w.run_id
FROM (SELECT DISTINCT thread_id, ns, checkpoint_id, task_id, idx FROM n) k
CROSS JOIN LATERAL (
    SELECT * FROM checkpoint_writes w
    WHERE w.thread_id = k.thread_id AND w.ns = k.ns AND w.checkpoint_id = k.checkpoint_id AND w.task_id = k.task_id AND w.idx = k.idx
    LIMIT 1
) w
WHERE NOT EXISTS (
    SELECT 1 FROM n
    WHERE n.thread_id = w.thread_id AND n.ns = w.ns AND n.checkpoint_id = w.checkpoint_id AND n.task_id = w.task_id AND n.idx = w.idx
      AND n.run_id IS NOT DISTINCT FROM w.run_id
)
ON CONFLICT (thread_id, ns, checkpoint_id, task_id, idx) DO UPDATE
SET task_path = EXCLUDED.task_path, channel = EXCLUDED.channel, type = EXCLUDED.type, data = EXCLUDED.data

-- name: insert_writes
-- A task's ordinary writes keep their first value; special ones (negative index) are replaced.
INSERT INTO checkpoint_writes AS w (thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, type, data, run_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[])
ON CONFLICT (thread_id, ns, checkpoint_id, task_id, idx) DO UPDATE
SET task_path = EXCLUDED.task_path, channel = EXCLUDED.channel, type = EXCLUDED.type, data = EXCLUDED.data, run_id = EXCLUDED.run_id
WHERE w.idx < 0

-- name: insert_parts
INSERT INTO checkpoint_parts (blob_id, idx, run_id, data)
SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[])
ON CONFLICT DO NOTHING

-- name: remove_parts
DELETE FROM checkpoint_parts WHERE blob_id = ANY ($1::text[])

-- name: insert_frames
INSERT INTO frames (run_id, attempt, first_sequence, thread_id, data)
SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::bytea[])
ON CONFLICT DO NOTHING

-- name: remove_assistants
WITH versions_gone AS (DELETE FROM assistant_versions WHERE assistant_id = ANY ($1::text[]))
DELETE FROM assistants WHERE assistant_id = ANY ($1::text[])

-- name: upsert_assistants
INSERT INTO assistants AS a (assistant_id, graph_id, config, context, metadata, name, description, version, created_at, updated_at)
SELECT n.assistant_id, n.graph_id, n.config::jsonb, n.context::jsonb, n.metadata::jsonb, n.name, n.description, n.version,
       COALESCE(n.created_at, n.updated_at), n.updated_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[],
            $9::timestamptz[], $10::timestamptz[])
    AS n (assistant_id, graph_id, config, context, metadata, name, description, version, created_at, updated_at)
ON CONFLICT (assistant_id) DO UPDATE
SET graph_id = EXCLUDED.graph_id, config = EXCLUDED.config, context = EXCLUDED.context, metadata = EXCLUDED.metadata,
    name = EXCLUDED.name, description = EXCLUDED.description, version = EXCLUDED.version, updated_at = EXCLUDED.updated_at

-- name: insert_versions
INSERT INTO assistant_versions (assistant_id, version, graph_id, config, context, metadata, name, description, created_at)
SELECT n.assistant_id, n.version, n.graph_id, n.config::jsonb, n.context::jsonb, n.metadata::jsonb, n.name, n.description, n.created_at
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
    AS n (assistant_id, version, graph_id, config, context, metadata, name, description, created_at)
ON CONFLICT DO NOTHING

-- name: upsert_graphs
INSERT INTO graphs (graph_id, position, description, schemas, static, drawings, subgraphs)
SELECT n.graph_id, n.position, n.description, n.schemas::jsonb, n.static, n.drawings::json, n.subgraphs::json
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[])
  AS n (graph_id, position, description, schemas, static, drawings, subgraphs)
ON CONFLICT (graph_id) DO UPDATE
SET position = EXCLUDED.position, description = EXCLUDED.description, schemas = EXCLUDED.schemas,
    static = EXCLUDED.static, drawings = EXCLUDED.drawings, subgraphs = EXCLUDED.subgraphs

-- name: read_outcomes
SELECT command_id, status, detail, type, body, at FROM outcomes WHERE command_id = ANY ($1::text[])
