-- Reads of assistants and graphs.

-- name: get
SELECT * FROM assistants WHERE assistant_id = $1

-- name: exists
SELECT EXISTS (SELECT FROM assistants WHERE assistant_id = $1)

-- name: search
-- $1 metadata, $2 graph, $3 part of the name, each may be null. One row beyond the limit shows that there is a further page.
SELECT {columns} FROM assistants
WHERE ($1::jsonb IS NULL OR metadata @> $1)
  AND ($2::text IS NULL OR graph_id = $2)
  AND ($3::text IS NULL OR strpos(lower(name), lower($3)) > 0)
  AND {visible}
ORDER BY {order} LIMIT $4 OFFSET $5

-- name: count
SELECT count(*) FROM assistants
WHERE ($1::jsonb IS NULL OR metadata @> $1)
  AND ($2::text IS NULL OR graph_id = $2)
  AND ($3::text IS NULL OR strpos(lower(name), lower($3)) > 0)
  AND {visible}

-- name: versions
SELECT * FROM assistant_versions
WHERE assistant_id = $1 AND ($2::jsonb IS NULL OR metadata @> $2)
ORDER BY version DESC LIMIT $3 OFFSET $4

-- name: graph_names
SELECT graph_id FROM graphs ORDER BY position, graph_id

-- name: registered
-- Description of a graph that executors reported at their start, for an assistant without or ($2) with a configurable of its own, of
-- which a factory may make another graph. $3: the depth of the drawing; below zero: all levels.
SELECT nullif(schemas, '{}')::text AS schemas, subgraphs::text AS subgraphs,
       (drawings -> LEAST($3::int, json_array_length(drawings) - 1))::text AS drawing
FROM graphs WHERE graph_id = $1 AND (static OR NOT $2)

-- name: threads
-- Threads whose metadata names the assistant.
SELECT thread_id FROM threads WHERE metadata @> jsonb_build_object('assistant_id', $1::text) AND {visible}
