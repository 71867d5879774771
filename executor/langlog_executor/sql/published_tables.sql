-- The tables of the published Postgres saver and store, read for an import. Statements for psycopg.

-- name: tables
SELECT t.name, COALESCE(array_agg(a.attname::text) FILTER (WHERE a.attname IS NOT NULL), '{}') AS columns
FROM (VALUES ('checkpoints'), ('checkpoint_blobs'), ('checkpoint_writes'), ('store')) t (name)
LEFT JOIN pg_attribute a ON a.attrelid = to_regclass(t.name) AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY t.name

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

-- name: shallow_threads
SELECT t.thread_id, first.ts AS created_at, last.ts AS updated_at, last.metadata ->> 'graph_id' AS graph_id
FROM (SELECT DISTINCT thread_id FROM checkpoints WHERE thread_id > %s ORDER BY thread_id LIMIT 100) t
CROSS JOIN LATERAL (SELECT min(c.checkpoint ->> 'ts') AS ts FROM checkpoints c WHERE c.thread_id = t.thread_id) first
CROSS JOIN LATERAL (
    SELECT c.checkpoint ->> 'ts' AS ts, c.metadata FROM checkpoints c WHERE c.thread_id = t.thread_id
    ORDER BY (c.checkpoint_ns = '') DESC, c.checkpoint ->> 'id' DESC LIMIT 1
) last
ORDER BY t.thread_id

-- name: shallow_namespaces
SELECT checkpoint_ns FROM checkpoints WHERE thread_id = %s ORDER BY checkpoint ->> 'id' DESC

-- name: items
SELECT to_jsonb(s) AS item FROM store s WHERE (prefix, key) > (%s, %s) ORDER BY prefix, key LIMIT 500
