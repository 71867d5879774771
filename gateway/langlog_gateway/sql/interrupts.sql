-- Open interrupts over all threads. Threads are found by the partial index on those that are interrupted.

-- name: search
-- A thread's interrupts follow on each other; one more than asked for tells of a further page. The run is the thread's last one that
-- has begun: what interrupted it, unless a client has changed the state since. The node stands in the path of the task that wrote the
-- interrupt on the thread's latest checkpoint.
SELECT f.*, r.run_id, r.assistant_id AS run_assistant_id, r.graph_id AS run_graph_id, (
    SELECT w.task_path FROM checkpoint_writes w
    WHERE w.thread_id = f.thread_id AND w.ns = '' AND w.task_id = f.task_id AND w.channel = '__interrupt__' AND w.checkpoint_id = (
        SELECT c.checkpoint_id FROM checkpoints c WHERE c.thread_id = f.thread_id AND c.ns = ''
        ORDER BY c.log_position DESC, c.checkpoint_id DESC LIMIT 1
    ) LIMIT 1
) AS task_path
FROM (
    SELECT t.thread_id, t.state_updated_at, t.metadata, task.key AS task_id, one.n,
           one.value ->> 'id' AS interrupt_id, (one.value -> 'value')::text AS value,
           (one.value -> 'response_schema')::text AS response_schema
    FROM threads t
    CROSS JOIN LATERAL jsonb_each(t.interrupts) AS task
    CROSS JOIN LATERAL jsonb_array_elements(task.value) WITH ORDINALITY AS one (value, n)
    WHERE t.status = 'interrupted' AND {visible}
    ORDER BY t.state_updated_at {direction}, t.thread_id {direction}, task.key, one.n
    LIMIT {limit} OFFSET {offset}
) AS f
LEFT JOIN LATERAL (
    SELECT run_id, assistant_id, graph_id FROM runs
    WHERE thread_id = f.thread_id AND attempt > 0 ORDER BY ordinal DESC LIMIT 1
) AS r ON true
ORDER BY f.state_updated_at {direction}, f.thread_id {direction}, f.task_id, f.n

-- name: count
SELECT count(*) FROM threads t
CROSS JOIN LATERAL jsonb_each(t.interrupts) AS task
CROSS JOIN LATERAL jsonb_array_elements(task.value) AS one
WHERE t.status = 'interrupted' AND {visible}
