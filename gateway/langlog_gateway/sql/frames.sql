-- Recorded frames of resumable runs.

-- name: of_run
SELECT data FROM frames WHERE run_id = $1 ORDER BY attempt, first_sequence

-- name: page_of_run
-- The batches after the one at ($2, $3), $4 at most, and none once they are $5 bytes.
SELECT attempt, first_sequence, data FROM (
    SELECT attempt, first_sequence, data, sum(octet_length(data)) OVER (ORDER BY attempt, first_sequence) - octet_length(data) AS before
    FROM (
        SELECT attempt, first_sequence, data FROM frames WHERE run_id = $1 AND (attempt, first_sequence) > ($2, $3)
        ORDER BY attempt, first_sequence LIMIT $4
    ) n
) m WHERE before < $5 ORDER BY attempt, first_sequence

-- name: batch_with
-- The batch that holds the frame at ($2, $3), or the last one before it.
SELECT attempt, first_sequence FROM frames WHERE run_id = $1 AND (attempt, first_sequence) <= ($2, $3)
ORDER BY attempt DESC, first_sequence DESC LIMIT 1

-- name: starts_of_run
-- The first batch of each attempt.
SELECT DISTINCT ON (attempt) data FROM frames WHERE run_id = $1 ORDER BY attempt, first_sequence

-- name: of_thread
SELECT f.data FROM frames f LEFT JOIN runs r ON r.run_id = f.run_id
WHERE f.thread_id = $1 ORDER BY r.ordinal NULLS LAST, f.run_id, f.attempt, f.first_sequence

-- name: ended
-- Those of the requested runs that are over, with the position of their last frame. Looked up one by one: the thread may have many more.
SELECT r.run_id, r.attempt, r.frame_count FROM (SELECT DISTINCT unnest($2::text[]) AS run_id) n
CROSS JOIN LATERAL (SELECT * FROM runs WHERE thread_id = $1 AND run_id = n.run_id LIMIT 1) r
WHERE r.status NOT IN ('pending', 'running')
