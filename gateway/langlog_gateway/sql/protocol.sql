-- Reads of the streaming protocol (wire contract §9).

-- name: position
-- The last number of the thread's runs that are over, and the run that a worker may hold.
SELECT t.seq, r.run_id, r.attempt, (r.kwargs::json ->> 'resumable')::boolean AS resumable
FROM threads t
LEFT JOIN runs r ON r.thread_id = t.thread_id AND r.status IN ('pending', 'running') AND r.attempt > 0
WHERE t.thread_id = $1

-- name: run
SELECT run_id, graph_id, status, attempt, frame_count, first_event_number, last_event_number,
       (kwargs::json ->> 'resumable')::boolean AS resumable, error ->> 'refusal' AS refusal,
       CASE WHEN error -> 'refusal' IS NOT NULL THEN (kwargs::json #> '{command,resume}')::text END AS resume
FROM runs WHERE thread_id = $1 AND run_id = $2

-- name: standing
-- As `position`, and the runs that are over and have events after number $2, in their order; with the values that they left, unless
-- these have changed since. One statement: a run that ends at this moment is in one of the two, never in neither.
SELECT t.seq AS thread_seq, a.run_id AS active_run_id, a.attempt AS active_attempt,
       a.graph_id AS active_graph_id, a.started_at AS active_started_at,
       (a.kwargs::json ->> 'resumable')::boolean AS active_resumable,
       r.run_id, r.graph_id, r.status, r.attempt, r.frame_count, r.first_event_number, r.last_event_number, r.output,
       r.error ->> 'message' AS error, r.error ->> 'refusal' AS refusal,
       CASE WHEN r.error -> 'refusal' IS NOT NULL THEN (r.kwargs::json #> '{command,resume}')::text END AS resume,
       r.started_at, r.ended_at, (r.kwargs::json ->> 'resumable')::boolean AS resumable,
       CASE WHEN r.last_event_number = t.seq AND t.state_updated_at <= r.ended_at THEN t.state_values::text END AS state_values,
       r.last_event_number = t.seq AND t.status = 'interrupted' AS pending
FROM threads t
LEFT JOIN runs a ON a.thread_id = t.thread_id AND a.status IN ('pending', 'running') AND a.attempt > 0
LEFT JOIN runs r ON r.thread_id = t.thread_id AND r.last_event_number > $2 AND r.status NOT IN ('pending', 'running')
WHERE t.thread_id = $1
ORDER BY r.last_event_number

-- name: answered_with
-- Members from which a run that answers an interrupt is made. The decider checks that the interrupt is open.
SELECT config, metadata ->> 'assistant_id' AS assistant_id FROM threads WHERE thread_id = $1

-- name: waits_for_answer
SELECT status = 'interrupted' AND coalesce(interrupts, '{}') <> '{}' AS waits FROM threads WHERE thread_id = $1

-- name: ever_asked
-- Whether any run of the thread has stopped at an interrupt; for an answer to a thread that has none open.
SELECT EXISTS (SELECT 1 FROM checkpoint_writes WHERE thread_id = $1 AND channel = '__interrupt__')
