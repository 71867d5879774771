-- Deliveries of webhooks. Only the projector writes them.

-- name: of_run
SELECT w.run_id, w.thread_id, w.url, w.ended_at, w.settled_at, w.delivered, w.next_attempt_at, w.attempt_log
FROM webhooks w LEFT JOIN threads t ON t.thread_id = w.thread_id
WHERE w.run_id = $2 AND w.thread_id = $1 AND {visible}

-- name: run_exists
SELECT EXISTS (SELECT FROM runs r JOIN threads t ON t.thread_id = r.thread_id WHERE r.run_id = $2 AND r.thread_id = $1 AND {visible})
