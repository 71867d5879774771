-- Recorded frames of resumable runs.

-- name: of_run
SELECT data FROM frames WHERE run_id = $1 ORDER BY attempt, first_sequence

-- name: of_thread
SELECT f.data FROM frames f LEFT JOIN runs r ON r.run_id = f.run_id
WHERE f.thread_id = $1 ORDER BY r.ordinal NULLS LAST, f.run_id, f.attempt, f.first_sequence

-- name: ended
-- Resumable runs of a thread that are over, with the position of their last frame.
SELECT run_id, attempt, frame_count FROM runs
WHERE thread_id = $1 AND status NOT IN ('pending', 'running') ORDER BY ordinal
