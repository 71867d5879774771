-- Recorded frames of resumable runs.

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

-- name: runs_of_thread
-- The thread's runs with recorded frames, in the order in which they were executed.
SELECT n.run_id FROM (SELECT DISTINCT run_id FROM frames WHERE thread_id = $1) n LEFT JOIN runs r ON r.run_id = n.run_id
ORDER BY r.started_at NULLS LAST, r.ordinal, n.run_id

-- name: last_of_runs
-- The last batch of each of the runs, in their order, with the run's number from 1; none once they are $2 bytes.
SELECT n, run_id, data FROM (
    SELECT i.n, i.run_id, f.data, sum(octet_length(f.data)) OVER (ORDER BY i.n) - octet_length(f.data) AS before
    FROM unnest($1::text[]) WITH ORDINALITY AS i (run_id, n)
    CROSS JOIN LATERAL (
        SELECT data FROM frames WHERE run_id = i.run_id ORDER BY attempt DESC, first_sequence DESC LIMIT 1
    ) f
) m WHERE before < $2 ORDER BY n

-- name: ended
-- Those of the requested runs that are over, with the position of their last frame. Looked up one by one: the thread may have many more.
SELECT r.run_id, r.attempt, r.frame_count FROM (SELECT DISTINCT unnest($2::text[]) AS run_id) n
CROSS JOIN LATERAL (SELECT * FROM runs WHERE thread_id = $1 AND run_id = n.run_id LIMIT 1) r
WHERE r.status NOT IN ('pending', 'running')
