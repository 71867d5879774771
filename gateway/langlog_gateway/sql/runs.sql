-- Reads of runs. Only the projector writes these tables.

-- name: assistants
-- Members of an assistant that its runs need.
SELECT assistant_id, graph_id, config, context, metadata FROM assistants WHERE assistant_id = ANY ($1::text[])

-- name: graph_names
-- In the order of langgraph.json.
SELECT graph_id FROM graphs ORDER BY position, graph_id

-- name: context_members
-- Names in a graph's context schema; null when there is no such schema or it takes any member.
SELECT ARRAY(SELECT jsonb_object_keys(schemas #> '{context_schema,properties}'))
FROM graphs
WHERE graph_id = $1 AND jsonb_typeof(schemas #> '{context_schema,properties}') = 'object'
  AND coalesce(schemas #> '{context_schema,additionalProperties}', 'false') = 'false'

-- name: run
SELECT run_id, thread_id, assistant_id, metadata, status, kwargs, multitask_strategy, created_at, updated_at, attempt,
       started_at, cancel_reason
FROM runs WHERE thread_id = $1 AND run_id = $2

-- name: progress
-- Progress of a run, without any large member.
SELECT status, attempt, frame_count, temporary, (kwargs::json ->> 'resumable')::boolean AS resumable,
       extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s,
       extract(epoch FROM ended_at - created_at)::float8 AS took_s
FROM runs WHERE thread_id = $1 AND run_id = $2

-- name: young
-- As `progress`, of the thread's newest $3 runs those that are at most so many seconds old, in the order of their execution. The limit
-- comes first: otherwise all runs of the thread are read to find that none is young.
SELECT run_id, status, attempt, frame_count, (kwargs::json ->> 'resumable')::boolean AS resumable,
       extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s,
       extract(epoch FROM ended_at - created_at)::float8 AS took_s
FROM (SELECT * FROM runs WHERE thread_id = $1 ORDER BY ordinal DESC LIMIT $3) newest
WHERE created_at > clock_timestamp() - make_interval(secs => $2)
ORDER BY ordinal

-- name: written_by
-- The run, and its attempt, that wrote a checkpoint of the whole graph.
SELECT run_id, (metadata ->> 'run_attempt')::int AS attempt FROM checkpoints
WHERE thread_id = $1 AND ns = '' AND checkpoint_id = $2

-- name: thread_of
SELECT thread_id FROM runs WHERE run_id = $1

-- name: answer
-- Response to a join of a finished run.
SELECT r.status, r.error, r.output, t.state_values, t.has_checkpoints
FROM runs r JOIN threads t ON t.thread_id = r.thread_id
WHERE r.thread_id = $1 AND r.run_id = $2

-- name: values
SELECT state_values FROM threads WHERE thread_id = $1

-- name: list
-- Newest first; $2 a status or null.
SELECT {columns}
FROM runs WHERE thread_id = $1 AND ($2::text IS NULL OR status = $2)
ORDER BY ordinal DESC LIMIT $3 OFFSET $4

-- name: count
SELECT count(*) FROM runs WHERE thread_id = $1 AND ($2::text IS NULL OR status = $2)

-- name: search
-- Runs of all threads. One row beyond the limit shows that there is a further page.
SELECT {columns} FROM runs WHERE {filters}
ORDER BY created_at {direction}, run_id {direction} LIMIT {limit} OFFSET {offset}

-- name: count_all
SELECT count(*) FROM runs WHERE {filters}

-- name: thread_exists
SELECT EXISTS (SELECT FROM threads WHERE thread_id = $1)

-- name: in_flight
-- All runs in flight; $1 a status or null.
SELECT thread_id, run_id FROM runs
WHERE status IN ('pending', 'running') AND ($1::text IS NULL OR status = $1)
ORDER BY thread_id, ordinal

-- name: last_of
-- The last run of each thread that has begun, if any: a new run may continue it.
SELECT t.thread_id, t.config, t.metadata ->> 'assistant_id' AS assistant_id, r.kwargs
FROM threads t
LEFT JOIN LATERAL (
    SELECT kwargs FROM runs WHERE thread_id = t.thread_id AND attempt > 0 ORDER BY ordinal DESC LIMIT 1
) AS r ON true
WHERE t.thread_id = ANY ($1::text[])

-- name: existing
SELECT run_id FROM runs WHERE run_id = ANY ($1::text[])

-- name: to_retry
-- Members from which runs are created again. A run that has written checkpoints is continued, if no other has followed it.
SELECT r.run_id, r.thread_id, r.assistant_id, r.status, r.kwargs, r.metadata, t.config, t.metadata AS thread_metadata,
       EXISTS (SELECT FROM checkpoints c WHERE c.thread_id = r.thread_id AND c.run_id = r.run_id) AS has_checkpoints,
       r.run_id = (SELECT l.run_id FROM runs l WHERE l.thread_id = r.thread_id ORDER BY l.ordinal DESC LIMIT 1) AS is_last
FROM runs r JOIN threads t ON t.thread_id = r.thread_id
WHERE r.run_id = ANY ($1::text[])

-- name: queued
-- Pending runs by user, counted up to a limit.
SELECT user_id, count(*) AS runs FROM (
    SELECT user_id FROM runs WHERE status = 'pending' AND status IN ('pending', 'running') LIMIT $1
) AS waiting GROUP BY user_id

-- name: statuses
-- Those of the requested runs that exist, with their status. Looked up one by one: the thread may have many more.
SELECT r.run_id, r.status FROM (SELECT DISTINCT unnest($2::text[]) AS run_id) n
CROSS JOIN LATERAL (SELECT * FROM runs WHERE thread_id = $1 AND run_id = n.run_id LIMIT 1) r

-- name: replayed
-- Members of a run to be replayed that handlers of threads.create_run see.
SELECT assistant_id, metadata, kwargs FROM runs WHERE thread_id = $1 AND run_id = $2

-- name: removal
-- Members that the removal of a run needs.
SELECT r.status, r.run_id, t.metadata ->> 'graph_id' AS graph_id, t.config, t.has_checkpoints
FROM runs r JOIN threads t ON t.thread_id = r.thread_id
WHERE r.thread_id = $1 AND r.run_id = $2

-- name: queue
-- Metrics for /metrics.
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'running') AS running,
       extract(epoch FROM max(now() - created_at) FILTER (WHERE status = 'pending')) AS longest,
       extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY now() - created_at) FILTER (WHERE status = 'pending')) AS median,
       extract(epoch FROM max(now() - created_at) FILTER (WHERE status = 'pending' AND attempt > 0)) AS unblocked
FROM runs WHERE status IN ('pending', 'running')

-- name: parked
-- Uses the partial index on records that wait.
SELECT count(DISTINCT key) AS keys, count(*) AS records FROM dead_letters WHERE state IN ('bad', 'behind')
