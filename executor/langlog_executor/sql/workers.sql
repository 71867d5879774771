-- What workers and their pool ask the read model.

-- name: stop_requested
-- Which of these runs somebody has asked to stop, and how: for controls that were missed.
SELECT run_id, attempt, cancel FROM runs WHERE run_id = ANY($1::text[]) AND cancel IS NOT NULL

-- name: announced
-- How many of these assistants and graphs there are.
SELECT (SELECT count(*) FROM assistants WHERE assistant_id = ANY($1::text[])) AS assistants,
       (SELECT count(*) FROM graphs WHERE graph_id = ANY($2::text[])) AS graphs
