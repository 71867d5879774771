-- Keys that are parked, from the read model.

-- name: letters_of
SELECT topic, part, "offset", key, state IN ('bad', 'behind') AS open FROM dead_letters WHERE part = ANY ($1::int[])

-- name: open_letters
-- Headers and values of the first ones alone: of none once they are $2 bytes.
SELECT topic, part, "offset", CASE WHEN before < $2 THEN headers END AS headers, CASE WHEN before < $2 THEN value END AS value, at FROM (
    SELECT topic, part, "offset", headers, value, at,
           sum(octet_length(value)) OVER (ORDER BY topic = 'commands', topic, part, "offset") - octet_length(value) AS before
    FROM dead_letters WHERE key = $1 AND state IN ('bad', 'behind')
) n ORDER BY topic = 'commands', topic, part, "offset"

-- name: open_keys
SELECT DISTINCT key FROM dead_letters WHERE key = ANY ($1::text[]) AND state IN ('bad', 'behind')

-- name: parked_keys
SELECT DISTINCT key FROM dead_letters WHERE key = ANY ($1::text[]) AND state IN ('bad', 'behind') AND topic <> 'commands'
