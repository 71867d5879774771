-- Records that are parked: see parking.py.

-- name: read_open
SELECT DISTINCT topic, key FROM dead_letters WHERE state IN ('bad', 'behind') AND topic <> 'commands'

-- name: read_dropped
SELECT topic, part, "offset" FROM dead_letters WHERE state = 'dropped' AND topic <> 'commands'

-- name: insert
INSERT INTO dead_letters (topic, part, "offset", key, type, state, error, headers, value, at)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[],
                     $10::timestamptz[])
-- A rebuild may have folded first how the letter was settled: the row then gets the content of the letter.
ON CONFLICT (topic, part, "offset") DO UPDATE SET type = EXCLUDED.type, error = EXCLUDED.error
WHERE dead_letters.topic = 'commands' AND dead_letters.type = '' AND dead_letters.state IN ('decided', 'dropped')

-- name: settle
-- Also before the letter has been folded: letters are on another topic than the event that settles them. Of a letter that was removed
-- with its thread only the removal is kept: if records are encrypted, a rebuild cannot read the letter.
INSERT INTO dead_letters AS d (topic, part, "offset", key, type, state, at)
SELECT topic, part, "offset", key, '', state, at
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[]) AS n (topic, part, "offset", key, state, at)
ON CONFLICT (topic, part, "offset") DO UPDATE
SET state = EXCLUDED.state, at = EXCLUDED.at, headers = NULL, value = NULL,
    type = CASE WHEN EXCLUDED.state = 'removed' THEN '' ELSE d.type END,
    error = CASE WHEN EXCLUDED.state = 'removed' THEN NULL ELSE d.error END

-- name: forget
-- Events of keys that are removed with their thread. An event that an operator has dropped stays dropped.
DELETE FROM dead_letters d USING unnest($1::text[], $2::text[]) AS n (topic, key)
WHERE d.topic = n.topic AND d.key = n.key AND d.state IN ('bad', 'behind')

-- name: drop_event
-- Also before the record itself has been folded: a rebuild may read the operator's command first.
INSERT INTO dead_letters (topic, part, "offset", key, type, state, at) VALUES ($1, $2, $3, $4, '', 'dropped', $5)
ON CONFLICT (topic, part, "offset") DO UPDATE
SET type = '', state = 'dropped', at = EXCLUDED.at, error = NULL, headers = NULL, value = NULL

-- name: parked_events
-- The first waiting events of a key behind the one at ($2, $3, $4) that are not of the topics $5, $6 at most, and none once they are
-- $7 bytes.
SELECT topic, part, "offset", headers, value FROM (
    SELECT topic, part, "offset", headers, value,
           sum(octet_length(value)) OVER (ORDER BY topic, part, "offset") - octet_length(value) AS before
    FROM (
        SELECT topic, part, "offset", headers, value FROM dead_letters
        WHERE key = $1 AND topic <> 'commands' AND state IN ('bad', 'behind') AND (topic, part, "offset") > ($2, $3, $4)
          AND topic <> ALL ($5::text[])
        ORDER BY topic, part, "offset" LIMIT $6
    ) n
) m WHERE before < $7 ORDER BY topic, part, "offset"

-- name: take
DELETE FROM dead_letters WHERE topic = $1 AND part = $2 AND "offset" = $3 AND state IN ('bad', 'behind')

-- name: still_bad
UPDATE dead_letters SET state = 'bad', error = $4 WHERE topic = $1 AND part = $2 AND "offset" = $3
