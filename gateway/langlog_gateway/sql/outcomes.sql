-- Outcomes of commands that came with an Idempotency-Key.

-- name: kept
SELECT command_id, status, detail, type, body, at FROM outcomes WHERE command_id = ANY ($1::text[])
