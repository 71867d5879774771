-- Queries of workers and their pool.

-- name: stop_requested
-- Those of these runs that a client has asked to stop, and how: for controls that were missed.
SELECT run_id, attempt, cancel FROM runs WHERE run_id = ANY($1::text[]) AND cancel IS NOT NULL

-- name: announced
-- Number of these assistants and graphs that exist.
SELECT (SELECT count(*) FROM assistants WHERE assistant_id = ANY($1::text[])) AS assistants,
       (SELECT count(*) FROM graphs WHERE graph_id = ANY($2::text[])) AS graphs
