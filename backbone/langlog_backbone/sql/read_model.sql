-- The read model: the log, folded. Written by the projector alone, rebuilt by replaying, never migrated.
-- Ids are text in C order: UUIDv7 and UUIDv6 sort by time, and the checkpoint savers allow any string.

CREATE TABLE IF NOT EXISTS positions (  -- how far each partition is folded, saved with the rows it led to
    topic text NOT NULL,
    part int NOT NULL,
    "offset" bigint NOT NULL,           -- the next offset to fold
    cause_offset bigint NOT NULL DEFAULT -1,
    cause_index int NOT NULL DEFAULT 0,
    cause_count int NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, part)
);

CREATE TABLE IF NOT EXISTS graphs (
    graph_id text COLLATE "C" PRIMARY KEY,
    position int NOT NULL,
    description text,
    schemas jsonb NOT NULL,
    static boolean NOT NULL,            -- the same for every config
    drawings json NOT NULL,             -- by depth; empty: a worker knows
    subgraphs json                      -- schemas by name
);

CREATE TABLE IF NOT EXISTS assistants (
    assistant_id text COLLATE "C" PRIMARY KEY,
    graph_id text NOT NULL,
    config jsonb NOT NULL,
    context jsonb NOT NULL,
    metadata jsonb NOT NULL,
    name text NOT NULL,
    description text,
    version int NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS assistants_metadata ON assistants USING gin (metadata jsonb_path_ops);
CREATE INDEX IF NOT EXISTS assistants_created ON assistants (created_at);

CREATE TABLE IF NOT EXISTS assistant_versions (
    assistant_id text COLLATE "C" NOT NULL,
    version int NOT NULL,
    graph_id text NOT NULL,
    config jsonb NOT NULL,
    context jsonb NOT NULL,
    metadata jsonb NOT NULL,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (assistant_id, version)
);

CREATE TABLE IF NOT EXISTS threads (
    thread_id text COLLATE "C" PRIMARY KEY,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state_updated_at timestamptz NOT NULL,
    metadata jsonb NOT NULL,
    status text NOT NULL,
    config jsonb NOT NULL,
    state_values jsonb,                 -- null before the first run
    interrupts jsonb,                   -- null: never ran, the member is absent
    error jsonb,
    ttl_minutes double precision,
    ttl_strategy text,
    has_checkpoints boolean NOT NULL DEFAULT false,
    frame_ms bigint NOT NULL DEFAULT 0, -- frame ids of the next run start above this
    status_when_idle text NOT NULL DEFAULT 'idle',  -- the status without runs in flight
    seq bigint NOT NULL DEFAULT 0,      -- protocol numbers of the next run start above this
    settled bigint NOT NULL DEFAULT -1, -- offset in run-events of the last change of checkpoints that is folded
    thinned_at timestamptz              -- when all but the latest checkpoints were last removed
);
CREATE INDEX IF NOT EXISTS threads_metadata ON threads USING gin (metadata jsonb_path_ops);
CREATE INDEX IF NOT EXISTS threads_updated ON threads (updated_at DESC, thread_id DESC);
CREATE INDEX IF NOT EXISTS threads_created ON threads (created_at DESC, thread_id DESC);
CREATE INDEX IF NOT EXISTS threads_state_updated ON threads (state_updated_at DESC, thread_id DESC);
CREATE INDEX IF NOT EXISTS threads_status ON threads (status) WHERE status <> 'idle';
CREATE INDEX IF NOT EXISTS threads_interrupted ON threads (state_updated_at, thread_id) WHERE status = 'interrupted';
CREATE INDEX IF NOT EXISTS threads_ttl ON threads (updated_at) WHERE ttl_minutes IS NOT NULL;

CREATE TABLE IF NOT EXISTS runs (
    run_id text COLLATE "C" PRIMARY KEY,
    thread_id text COLLATE "C" NOT NULL,
    ordinal bigint NOT NULL,
    assistant_id text NOT NULL,
    graph_id text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    status text NOT NULL,
    metadata jsonb NOT NULL,
    kwargs text NOT NULL,               -- JSON as the client meant it, key order kept; handed on, never searched
    multitask_strategy text NOT NULL,
    attempt int NOT NULL DEFAULT 0,     -- 0: not dispatched
    crashes int NOT NULL DEFAULT 0,
    cancel text,                        -- the action asked for
    superseded_by text,
    not_before timestamptz,
    temporary boolean NOT NULL DEFAULT false,
    dispatched_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    error jsonb,
    output text,                        -- JSON, when it differs from the thread's values
    frame_count int NOT NULL DEFAULT 0,
    first_event_number bigint NOT NULL DEFAULT 0, -- protocol numbers of the last attempt; 0: it told nothing, or is not over
    last_event_number bigint NOT NULL DEFAULT 0,
    user_id text NOT NULL DEFAULT '',   -- whose share of the queue it takes; empty: nobody's
    cancel_reason text                  -- as who cancelled it said; null: nothing was said
);
DO $$ BEGIN   -- a read model of before this column; looked up first, because ALTER TABLE locks the table even if there is nothing to do
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'runs'::regclass AND attname = 'cancel_reason' AND NOT attisdropped
    ) THEN
        ALTER TABLE runs ADD COLUMN cancel_reason text;
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS runs_thread ON runs (thread_id, ordinal DESC);
CREATE INDEX IF NOT EXISTS runs_active ON runs (thread_id) WHERE status IN ('pending', 'running');
CREATE INDEX IF NOT EXISTS runs_created ON runs (created_at, run_id);
CREATE INDEX IF NOT EXISTS runs_failed ON runs (created_at, run_id) WHERE status IN ('error', 'timeout', 'interrupted');
CREATE INDEX IF NOT EXISTS runs_of_cron ON runs ((metadata ->> 'cron_id'), created_at) WHERE metadata ? 'cron_id';
CREATE INDEX IF NOT EXISTS runs_due ON runs (not_before) WHERE status = 'pending' AND not_before IS NOT NULL;

CREATE TABLE IF NOT EXISTS webhooks (   -- what is told of runs that are over, and how telling it went; outlives run and thread
    run_id text COLLATE "C" PRIMARY KEY,
    part int NOT NULL,                  -- partition of its events
    thread_id text COLLATE "C" NOT NULL,
    url text NOT NULL,
    status text NOT NULL,               -- of the run: success, error, interrupted, timeout, rollback
    assistant_id text NOT NULL,
    metadata jsonb NOT NULL,
    multitask_strategy text NOT NULL,
    attempt int NOT NULL,               -- of the run
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz NOT NULL,
    error text,
    kwargs text,                        -- these two go when the delivery is settled, unless it was given up
    state_values text,
    attempts int NOT NULL DEFAULT 0,    -- tries so far
    next_attempt_at timestamptz,        -- null: settled
    settled_at timestamptz,
    delivered boolean NOT NULL DEFAULT false,
    attempt_log jsonb NOT NULL DEFAULT '[]',
    user_id text COLLATE "C" NOT NULL DEFAULT ''  -- whose share of the deliveries at once it takes; empty: nobody's
);
CREATE INDEX IF NOT EXISTS webhooks_due_by_user ON webhooks (user_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhooks_settled ON webhooks (part, settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhooks_given_up ON webhooks (settled_at, run_id) WHERE settled_at IS NOT NULL AND NOT delivered;

CREATE TABLE IF NOT EXISTS checkpoints (
    thread_id text COLLATE "C" NOT NULL,
    ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL,
    parent_id text COLLATE "C",
    run_id text COLLATE "C",
    type text NOT NULL,
    data bytea NOT NULL,                -- the serde's bytes, without channel_values
    metadata jsonb NOT NULL,
    versions jsonb NOT NULL,            -- channel -> version of the blob that holds its value
    log_position bigint NOT NULL DEFAULT -1,  -- orders a thread's checkpoints (schemas/checkpoints.py); -1: from a snapshot without it
    PRIMARY KEY (thread_id, ns, checkpoint_id)
);
CREATE INDEX IF NOT EXISTS checkpoints_in_log_order ON checkpoints (thread_id, ns, log_position, checkpoint_id);

CREATE TABLE IF NOT EXISTS checkpoint_blobs (
    thread_id text COLLATE "C" NOT NULL,
    ns text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread_id, ns, channel, version)
);

-- Also special writes that a later run has replaced: these have the checkpoint id "replaced <id>" and the task id "<id> <run>", and come
-- back when the later run is removed.
CREATE TABLE IF NOT EXISTS checkpoint_writes (
    thread_id text COLLATE "C" NOT NULL,
    ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    idx int NOT NULL,
    task_path text COLLATE "C" NOT NULL,
    channel text NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    run_id text COLLATE "C",            -- whose writes they are: a run may write on a checkpoint of the run before it
    PRIMARY KEY (thread_id, ns, checkpoint_id, task_id, idx)
);

CREATE TABLE IF NOT EXISTS checkpoint_parts (  -- pieces of bodies over the record limit, until the last one comes
    blob_id text COLLATE "C" NOT NULL,
    idx int NOT NULL,
    run_id text COLLATE "C",            -- they go with their run
    data bytea NOT NULL,
    PRIMARY KEY (blob_id, idx)
);

CREATE TABLE IF NOT EXISTS frames (     -- recorded streams of resumable runs
    run_id text COLLATE "C" NOT NULL,
    attempt int NOT NULL,
    first_sequence int NOT NULL,
    thread_id text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (run_id, attempt, first_sequence)
);
CREATE INDEX IF NOT EXISTS frames_thread ON frames (thread_id);

CREATE TABLE IF NOT EXISTS thread_events (  -- where a thread's events stand in its partition of run-events
    thread_id text COLLATE "C" NOT NULL,
    bucket bigint NOT NULL,             -- offset / 256
    run_id text COLLATE "C" NOT NULL,   -- empty: of the thread itself
    entries bytea NOT NULL,             -- two bytes an event: place in the bucket, code of the type (schemas/event_index.py)
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (thread_id, bucket, run_id)
);

CREATE TABLE IF NOT EXISTS store_items (
    namespace text[] COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz,
    ttl_minutes double precision,
    PRIMARY KEY (namespace, key)
);

CREATE INDEX IF NOT EXISTS store_items_expires ON store_items (expires_at) WHERE expires_at IS NOT NULL;

-- Vectors of the texts of items, by the embedding model. Of pgvector's type if the extension is available; otherwise vectors are stored
-- but not searched. Storage is MAIN, because fetching each vector from a TOAST table would cost more than comparing it.
CREATE TABLE IF NOT EXISTS store_vectors (
    namespace text[] COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    n int NOT NULL,                     -- from 0 within the item
    path text NOT NULL,                 -- of the text within the value
    embedding real[] NOT NULL,
    exact bytea,                        -- the same in 64 bits, of short vectors: scores are computed of these
    PRIMARY KEY (namespace, key, n)
);
DO $$
BEGIN
    IF to_regtype('vector') IS NULL AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
        CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;
    END IF;
    IF to_regtype('vector') IS NOT NULL AND (
        SELECT atttypid <> to_regtype('vector') FROM pg_attribute
        WHERE attrelid = 'store_vectors'::regclass AND attname = 'embedding'
    ) THEN
        ALTER TABLE store_vectors ALTER COLUMN embedding TYPE vector USING embedding::vector;
        ALTER TABLE store_vectors ALTER COLUMN embedding SET STORAGE MAIN;
    END IF;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
    RAISE NOTICE 'without pgvector: %', SQLERRM;
END $$;

CREATE TABLE IF NOT EXISTS crons (
    cron_id text COLLATE "C" PRIMARY KEY,
    assistant_id text NOT NULL,
    thread_id text COLLATE "C",
    user_id text NOT NULL,
    schedule text NOT NULL,
    timezone text,
    end_time text,                      -- as the client wrote it
    ends_at timestamptz,                -- the same, to compare with
    payload text NOT NULL,              -- JSON as received, key order kept
    metadata jsonb NOT NULL,
    on_run_completed text,
    enabled boolean NOT NULL,
    next_run_date timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    authority text                      -- JSON: what the project's handlers allowed its runs
);
DO $$ BEGIN   -- a read model of before this column; looked up first, because ALTER TABLE locks the table even if there is nothing to do
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'crons'::regclass AND attname = 'authority' AND NOT attisdropped
    ) THEN
        ALTER TABLE crons ADD COLUMN authority text;
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS crons_due ON crons (next_run_date) WHERE enabled AND (ends_at IS NULL OR next_run_date <= ends_at);
CREATE INDEX IF NOT EXISTS crons_owner ON crons (user_id);
CREATE INDEX IF NOT EXISTS crons_thread ON crons (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS crons_metadata ON crons USING gin (metadata jsonb_path_ops);

CREATE TABLE IF NOT EXISTS outcomes (   -- of commands that came with an Idempotency-Key, and of crons
    command_id text COLLATE "C" PRIMARY KEY,
    topic text NOT NULL,                -- of the events, and their partition: its newest outcome says which are too old
    part int NOT NULL,
    aggregate_id text COLLATE "C" NOT NULL,
    status int NOT NULL,
    detail text,
    type text NOT NULL,
    body text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS outcomes_age ON outcomes (topic, part, at);
CREATE INDEX IF NOT EXISTS outcomes_aggregate ON outcomes (aggregate_id);

CREATE TABLE IF NOT EXISTS dead_letters (  -- records that could not be handled, and those of the same key behind them
    topic text NOT NULL,                -- of the record: commands, or a topic of events
    part int NOT NULL,
    "offset" bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    type text NOT NULL,
    state text NOT NULL,                -- bad, behind; over: decided, removed (commands alone), dropped
    error text,
    headers text,                       -- JSON; these two go when it is over
    value bytea,
    at timestamptz NOT NULL,            -- of the record; when it is over, of that
    PRIMARY KEY (topic, part, "offset")
);
CREATE INDEX IF NOT EXISTS dead_letters_open ON dead_letters (key) WHERE state IN ('bad', 'behind');

-- Values that are already compressed are not compressed again: pglz would gain nothing, at 0.2 ms for 14 kB.
DO $$
DECLARE compressed text;
BEGIN
    FOR compressed IN
        SELECT attrelid::regclass FROM pg_attribute
        WHERE attrelid IN ('checkpoints'::regclass, 'checkpoint_blobs'::regclass, 'checkpoint_writes'::regclass,
                           'checkpoint_parts'::regclass)
          AND attname = 'data' AND attstorage <> 'e'
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN data SET STORAGE EXTERNAL', compressed);
    END LOOP;
END
$$;
