-- Reads of threads. Only the projector writes these tables.

-- name: get
SELECT *, updated_at + make_interval(secs => ttl_minutes * 60) AS expires_at FROM threads WHERE thread_id = $1

-- name: graph
-- Members of the thread that a query to a worker needs. The column `has_checkpoints` is true as soon as a run was dispatched.
SELECT metadata ->> 'graph_id' AS graph_id, metadata ->> 'assistant_id' AS assistant_id, config, status,
       CASE status WHEN 'busy' THEN EXISTS (SELECT FROM checkpoints WHERE checkpoints.thread_id = $1) ELSE has_checkpoints END AS has_checkpoints
FROM threads WHERE thread_id = $1

-- name: graph_if_started
-- As `graph`, and whether a run of the thread has been started.
SELECT metadata ->> 'graph_id' AS graph_id, metadata ->> 'assistant_id' AS assistant_id, config, status,
       CASE status WHEN 'busy' THEN EXISTS (SELECT FROM checkpoints WHERE checkpoints.thread_id = $1) ELSE has_checkpoints END AS has_checkpoints,
       EXISTS (SELECT FROM runs WHERE runs.thread_id = $1 AND runs.status = 'running') AS started
FROM threads WHERE thread_id = $1

-- name: position
-- Position of the read model in partition $1.
SELECT coalesce((SELECT "offset" FROM positions WHERE topic = 'run-events' AND part = $1), 0)

-- name: has_checkpoint
SELECT EXISTS (SELECT FROM checkpoints WHERE thread_id = $1 AND ns = '' AND checkpoint_id = $2)

-- name: search
-- One row beyond the limit shows that there is a further page.
SELECT {columns} FROM threads WHERE {filters} ORDER BY {order} LIMIT {limit} OFFSET {offset}

-- name: count
SELECT count(*) FROM threads WHERE {filters}

-- name: existing
SELECT thread_id FROM threads WHERE thread_id = ANY ($1::text[])

-- name: checkpoint_sizes
SELECT count(*) AS count, coalesce(sum(octet_length(data) + octet_length(metadata::text)), 0) AS bytes
FROM checkpoints WHERE thread_id = $1

-- name: blob_sizes
SELECT channel, count(*) AS versions, coalesce(sum(octet_length(data)), 0) AS bytes
FROM checkpoint_blobs WHERE thread_id = $1 GROUP BY channel ORDER BY channel

-- name: write_sizes
SELECT count(*) AS count, coalesce(sum(octet_length(data)), 0) AS bytes FROM checkpoint_writes WHERE thread_id = $1

-- name: checkpoints
-- For a copy, oldest first: metadata names the new thread ($2) where it named the old one.
SELECT ns, checkpoint_id, parent_id, run_id, type, data, versions,
       CASE WHEN metadata ? 'thread_id' THEN metadata || jsonb_build_object('thread_id', $2::text) ELSE metadata END AS metadata
FROM checkpoints WHERE thread_id = $1 ORDER BY log_position, checkpoint_id

-- name: blobs
SELECT ns, channel, version, type, data FROM checkpoint_blobs WHERE thread_id = $1

-- name: writes
SELECT ns, checkpoint_id, task_id, idx, task_path, channel, type, data
FROM checkpoint_writes WHERE thread_id = $1 ORDER BY ns, checkpoint_id, task_id, idx

-- name: head
SELECT checkpoint_id FROM checkpoints WHERE thread_id = $1 AND ns = '' ORDER BY log_position DESC, checkpoint_id DESC LIMIT 1

-- name: fork_checkpoints
-- For a fork at checkpoint $3, oldest first: it and its ancestors, and what subgraphs wrote in the steps between them; with $4 (it is the
-- latest) also in the step that it waits in. Metadata names the new thread ($2) where it named the old one.
WITH RECURSIVE chain AS (
    SELECT checkpoint_id, parent_id FROM checkpoints WHERE thread_id = $1 AND ns = '' AND checkpoint_id = $3
    UNION
    SELECT c.checkpoint_id, c.parent_id
    FROM chain k JOIN checkpoints c ON c.thread_id = $1 AND c.ns = '' AND c.checkpoint_id = k.parent_id
)
SELECT ns, checkpoint_id, parent_id, run_id, type, data, versions,
       CASE WHEN metadata ? 'thread_id' THEN metadata || jsonb_build_object('thread_id', $2::text) ELSE metadata END AS metadata
FROM checkpoints
WHERE thread_id = $1 AND CASE WHEN ns = '' THEN checkpoint_id IN (SELECT checkpoint_id FROM chain)
    ELSE metadata -> 'parents' ->> '' IN (SELECT checkpoint_id FROM chain WHERE checkpoint_id <> $3 OR $4::boolean) END
ORDER BY log_position, checkpoint_id

-- name: blobs_of
-- Values of the channels of these checkpoints.
SELECT DISTINCT b.ns, b.channel, b.version, b.type, b.data
FROM unnest($2::text[], $3::text[]) AS n (ns, checkpoint_id)
JOIN checkpoints c ON c.thread_id = $1 AND c.ns = n.ns AND c.checkpoint_id = n.checkpoint_id
CROSS JOIN LATERAL jsonb_each_text(c.versions) AS v (channel, version)
JOIN checkpoint_blobs b ON b.thread_id = $1 AND b.ns = n.ns AND b.channel = v.channel AND b.version = v.version

-- name: writes_of
SELECT w.ns, w.checkpoint_id, w.task_id, w.idx, w.task_path, w.channel, w.type, w.data
FROM unnest($2::text[], $3::text[]) AS n (ns, checkpoint_id)
JOIN checkpoint_writes w ON w.thread_id = $1 AND w.ns = n.ns AND w.checkpoint_id = n.checkpoint_id
ORDER BY w.ns, w.checkpoint_id, w.task_id, w.idx
