-- Reads of an import. Only the projector writes these tables.

-- name: threads
SELECT t.thread_id, t.updated_at, (SELECT count(*) FROM runs r WHERE r.thread_id = t.thread_id) AS runs,
       ARRAY(SELECT c.checkpoint_id FROM checkpoints c WHERE c.thread_id = t.thread_id ORDER BY c.log_position, c.checkpoint_id) AS checkpoints
FROM threads t WHERE t.thread_id = ANY ($1::text[])

-- name: thread
SELECT t.metadata, t.config, t.ttl_minutes, t.ttl_strategy, t.has_checkpoints, t.status,
       t.metadata ->> 'graph_id' AS graph_id, t.metadata ->> 'assistant_id' AS assistant_id,
       (SELECT count(*) FROM runs r WHERE r.thread_id = t.thread_id) AS runs
FROM threads t WHERE t.thread_id = $1

-- name: checkpoints
SELECT checkpoint_id FROM checkpoints WHERE thread_id = $1 AND checkpoint_id = ANY ($2::text[])

-- name: assistants
SELECT a.assistant_id, a.version, ARRAY(SELECT v.version FROM assistant_versions v WHERE v.assistant_id = a.assistant_id ORDER BY 1) AS versions
FROM assistants a WHERE a.assistant_id = ANY ($1::text[])

-- name: version
SELECT graph_id, config, context FROM assistant_versions WHERE assistant_id = $1 AND version = $2

-- name: crons
SELECT cron_id, updated_at, enabled FROM crons WHERE cron_id = ANY ($1::text[])

-- name: items
-- For each requested key: the time of the last write of the item there.
SELECT n.position, s.updated_at
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n (namespace, key, position)
JOIN store_items s ON s.namespace = string_to_array(n.namespace, '.') AND s.key = n.key

-- name: graphs
SELECT graph_id FROM graphs ORDER BY graph_id
