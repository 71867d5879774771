-- Keys that are parked, from the read model.

-- name: letters_of
-- Records that wait in the partitions, and those of their commands from an offset on whose dead letters are settled.
SELECT topic, part, "offset", key, true AS open FROM dead_letters WHERE part = ANY ($1::int[]) AND state IN ('bad', 'behind')
UNION ALL
SELECT d.topic, d.part, d."offset", d.key, false
FROM unnest($1::int[], $2::bigint[]) AS n (part, "offset")
JOIN dead_letters d ON d.topic = 'commands' AND d.part = n.part AND d."offset" >= n."offset" AND d.state NOT IN ('bad', 'behind')

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
