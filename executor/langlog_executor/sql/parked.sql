-- Keys that are parked, from the read model.

-- name: letters_of
SELECT topic, part, "offset", key, state IN ('bad', 'behind') AS open FROM dead_letters WHERE part = ANY ($1::int[])

-- name: open_letters
SELECT topic, part, "offset", headers, value, at FROM dead_letters
WHERE key = $1 AND state IN ('bad', 'behind')
ORDER BY topic = 'commands', topic, part, "offset"

-- name: open_keys
SELECT DISTINCT key FROM dead_letters WHERE key = ANY ($1::text[]) AND state IN ('bad', 'behind')

-- name: parked_keys
SELECT DISTINCT key FROM dead_letters WHERE key = ANY ($1::text[]) AND state IN ('bad', 'behind') AND topic <> 'commands'
