-- Assistants as other protocols list them, with the input schemas of their graphs. Newest first.

-- name: all
-- A graph whose input has no schema accepts any object.
SELECT a.assistant_id, a.graph_id, a.name, a.description,
  coalesce(nullif(g.schemas -> 'input_schema', 'null'::jsonb), '{"type": "object"}'::jsonb) AS input_schema
FROM assistants a JOIN graphs g ON g.graph_id = a.graph_id
WHERE {visible}
ORDER BY a.created_at DESC, a.assistant_id DESC

-- name: one
SELECT a.assistant_id, a.graph_id, a.name, a.description, g.schemas -> 'input_schema' AS input_schema
FROM assistants a LEFT JOIN graphs g ON g.graph_id = a.graph_id
WHERE a.assistant_id = $1

-- name: run
-- Status and result of a run of a thread.
SELECT r.run_id, r.assistant_id, r.status, r.error, r.updated_at, t.state_values, t.interrupts
FROM runs r JOIN threads t ON t.thread_id = r.thread_id
WHERE r.thread_id = $1 AND r.run_id = $2

-- name: marks
-- The runs that messages of threads belong to.
SELECT thread_id, run_id, metadata -> 'a2a' ->> 'task_start_id' AS mark FROM runs WHERE thread_id = ANY ($1) AND metadata ? 'a2a'

-- name: runs
-- Runs of one thread ($1), or of all (null) of an assistant ($2), newest first; $3 statuses or null, $4 limit, $5 offset. What a task
-- shows is read of the page's runs alone, not of all that are counted.
SELECT page.thread_id, page.run_id, r.status, r.error, r.updated_at, t.interrupts, page.total
FROM (
  SELECT r.thread_id, r.run_id, r.created_at, count(*) OVER () AS total
  FROM runs r JOIN threads t ON t.thread_id = r.thread_id
  WHERE ($1::text IS NULL OR r.thread_id = $1) AND r.assistant_id = $2 AND r.metadata ? 'a2a' AND ($3::text[] IS NULL OR r.status = ANY ($3))
    AND {visible}
  ORDER BY r.created_at DESC, r.run_id DESC LIMIT $4 OFFSET $5
) page JOIN runs r ON r.run_id = page.run_id JOIN threads t ON t.thread_id = page.thread_id
ORDER BY page.created_at DESC, page.run_id DESC

-- name: conversations
-- Messages of threads, each thread once; $2: all values of the state.
SELECT thread_id, CASE WHEN $2 THEN state_values ELSE jsonb_build_object('messages', state_values -> 'messages') END AS state_values
FROM threads WHERE thread_id = ANY ($1)
