-- Recorded frames of resumable runs.

-- name: of_run
SELECT data FROM frames WHERE run_id = $1 ORDER BY attempt, first_sequence

-- name: of_thread
SELECT f.data FROM frames f LEFT JOIN runs r ON r.run_id = f.run_id
WHERE f.thread_id = $1 ORDER BY r.ordinal NULLS LAST, f.run_id, f.attempt, f.first_sequence

-- name: ended
-- Those of the requested runs that are over, with the position of their last frame. Looked up one by one: the thread may have many more.
SELECT r.run_id, r.attempt, r.frame_count FROM (SELECT DISTINCT unnest($2::text[]) AS run_id) n
CROSS JOIN LATERAL (SELECT * FROM runs WHERE thread_id = $1 AND run_id = n.run_id LIMIT 1) r
WHERE r.status NOT IN ('pending', 'running')
