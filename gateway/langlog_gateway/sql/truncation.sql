-- Rows that `POST /internal/truncate` deletes, page by page.

-- name: threads
SELECT thread_id FROM threads WHERE thread_id > $1 ORDER BY thread_id LIMIT $2

-- name: runs
SELECT run_id, thread_id FROM runs WHERE run_id > $1 ORDER BY run_id LIMIT $2

-- name: assistants
-- All assistants except those that the server creates for its graphs.
SELECT assistant_id FROM assistants
WHERE assistant_id > $1 AND metadata ->> 'created_by' IS DISTINCT FROM 'system' ORDER BY assistant_id LIMIT $2

-- name: store_items
SELECT namespace, key FROM store_items WHERE (namespace, key) > ($1::text[], $2::text) ORDER BY namespace, key LIMIT $3
