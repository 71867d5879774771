-- Queries of `langlog dead`.

-- name: keys
SELECT key, count(*) AS records, min(at) AS since,
       (array_agg(topic || '-' || part || '-' || "offset" ORDER BY topic = 'commands', topic, part, "offset"))[1] AS first,
       (array_agg(type ORDER BY topic = 'commands', topic, part, "offset"))[1] AS type,
       (array_agg(error ORDER BY topic = 'commands', topic, part, "offset") FILTER (WHERE state = 'bad'))[1] AS error
FROM dead_letters WHERE state IN ('bad', 'behind')
GROUP BY key ORDER BY since, key

-- name: records
-- Those behind the one at ($2, $3, $4), $5 at most, and none once they are $6 bytes.
SELECT topic, part, "offset", type, state, error, headers, value, at FROM (
    SELECT *, sum(octet_length(value)) OVER (ORDER BY topic = 'commands', topic, part, "offset") - octet_length(value) AS before
    FROM (
        SELECT topic, part, "offset", type, state, error, headers, value, at
        FROM dead_letters WHERE key = $1 AND state IN ('bad', 'behind')
          AND (topic = 'commands', topic, part, "offset") > ($2 = 'commands', $2, $3, $4)
        ORDER BY topic = 'commands', topic, part, "offset" LIMIT $5
    ) n
) m WHERE before < $6 ORDER BY topic = 'commands', topic, part, "offset"

-- name: counts
-- Number of the waiting records of a key, and of the events among them.
SELECT count(*) AS records, count(*) FILTER (WHERE topic <> 'commands') AS events
FROM dead_letters WHERE key = $1 AND state IN ('bad', 'behind')
