-- State that the decider reads from the read model.

-- name: load_threads
-- Also returns threads with parked events: such a thread is not as its row says.
SELECT t.thread_id, t.created_at, t.updated_at, t.metadata, t.config, t.ttl_minutes, t.ttl_strategy, t.status, t.status_when_idle,
       t.has_checkpoints, t.frame_ms, t.seq, t.settled, false AS parked,
       ARRAY(SELECT DISTINCT i ->> 'id' COLLATE "C" AS id FROM jsonb_path_query(t.interrupts, 'strict $.*[*]', '{}', true) AS i
             WHERE i ->> 'id' IS NOT NULL ORDER BY id) AS open_interrupts
FROM threads t WHERE t.thread_id = ANY ($1::text[])
UNION ALL
SELECT DISTINCT d.key, d.at, d.at, NULL::jsonb, NULL::jsonb, NULL::float8, NULL, '', '', false, 0::bigint, 0, 0::bigint, true, '{}'::text[]
FROM dead_letters d WHERE d.key = ANY ($1::text[]) AND d.state = 'bad' AND d.topic <> 'commands'

-- name: load_runs_in_flight
SELECT thread_id, run_id, ordinal, assistant_id, graph_id, kwargs, metadata, created_at, not_before, temporary, attempt, crashes,
       cancel, superseded_by
FROM runs WHERE thread_id = ANY ($1::text[]) AND status IN ('pending', 'running')
ORDER BY ordinal

-- name: load_assistants
SELECT assistant_id, version FROM assistants WHERE assistant_id = ANY ($1::text[])

-- name: load_versions
SELECT assistant_id, version, graph_id, config, context, metadata, name, description, created_at
FROM assistant_versions WHERE assistant_id = ANY ($1::text[])

-- name: load_crons
SELECT cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, payload, metadata, on_run_completed, enabled,
       next_run_date, created_at, updated_at, authority
FROM crons WHERE cron_id = ANY ($1::text[])

-- name: crons_of
SELECT cron_id FROM crons WHERE thread_id = ANY ($1::text[])

-- name: known_commands
SELECT command_id FROM outcomes WHERE command_id = ANY ($1::text[])

-- name: known_runs
SELECT run_id FROM runs WHERE run_id = ANY ($1::text[])

-- name: read_causes
SELECT topic, part, "offset", cause_offset, cause_index, cause_count FROM positions WHERE part = ANY ($1::int[])

-- name: last_causes
SELECT topic, part, cause_offset FROM positions WHERE topic = ANY ($1::text[]) AND part = ANY ($2::int[])

-- name: behind
-- Number of partitions in which the read model is below these positions.
SELECT count(*) FROM unnest($1::text[], $2::int[], $3::bigint[]) AS n (topic, part, folded)
LEFT JOIN positions p ON p.topic = n.topic AND p.part = n.part
WHERE coalesce(p."offset", 0) < n.folded

-- name: pages
-- Number of pages of these tables, of those that have any.
SELECT n.name, pg_relation_size(n.name::regclass) / current_setting('block_size')::int AS pages
FROM unnest($1::text[]) AS n (name) WHERE pg_relation_size(n.name::regclass) > 0

-- name: read_page
SELECT count(*) FROM {table} WHERE ctid >= format('(%s,0)', $1::bigint)::tid AND ctid < format('(%s,0)', $1::bigint + 1)::tid
