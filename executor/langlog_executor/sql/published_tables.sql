-- The tables of the published Postgres saver and store, read for an import. Statements for psycopg.

-- name: tables
SELECT to_regclass('checkpoints') IS NOT NULL AS checkpoints, to_regclass('store') IS NOT NULL AS store

-- name: count
SELECT count(DISTINCT thread_id) AS count FROM checkpoints

-- name: threads
-- Also returns the times of the first and the last checkpoint of the graph itself, whose ids grow with time.
SELECT t.thread_id, first.ts AS created_at, last.ts AS updated_at, last.metadata ->> 'graph_id' AS graph_id
FROM (SELECT DISTINCT thread_id FROM checkpoints WHERE thread_id > %s ORDER BY thread_id LIMIT 100) t
CROSS JOIN LATERAL (
    SELECT c.checkpoint ->> 'ts' AS ts FROM checkpoints c WHERE c.thread_id = t.thread_id
    ORDER BY c.checkpoint_ns, c.checkpoint_id LIMIT 1
) first
CROSS JOIN LATERAL (
    SELECT c.checkpoint ->> 'ts' AS ts, c.metadata FROM checkpoints c WHERE c.thread_id = t.thread_id
    ORDER BY (c.checkpoint_ns = '') DESC, c.checkpoint_id DESC LIMIT 1
) last
ORDER BY t.thread_id

-- name: items
SELECT to_jsonb(s) AS item FROM store s WHERE (prefix, key) > (%s, %s) ORDER BY prefix, key LIMIT 500
