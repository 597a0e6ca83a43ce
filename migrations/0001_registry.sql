-- The registry of a pipeline's queries. Several pipelines may share a database; every row belongs to one.
-- No foreign keys: one piece of code writes these tables, under the lock of the pipeline's row, hundreds of rows at a time,
-- and a check for each row would be most of the cost.
-- Ids (of queries, handlers, workers) are 32 lowercase hex digits, as in logs and in Kafka, so that people can compare.

CREATE TABLE pipeline (
    -- The pipeline's key: its name, or `<namespace>/<name>` on Kubernetes.
    pipeline_id text NOT NULL,
    -- Of the last change of its queries. Every transaction that writes queries locks this row first, so revisions are
    -- given out in the order of commits. Microseconds of the clock or one more than the last, whichever is higher: after
    -- a failover that lost transactions the next number is still above every one that was lost.
    revision bigint NOT NULL DEFAULT 0,
    -- The highest revision of a removal whose record is gone: a reader that is older reads everything.
    removed_through bigint NOT NULL DEFAULT 0,
    CONSTRAINT pipeline_pkey PRIMARY KEY (pipeline_id)
);

-- A filter to be matched. Exists exactly while something refers to it: a query_use, or a standing row not suspended.
CREATE TABLE query (
    pipeline_id text NOT NULL,
    -- Hash of pipeline, tenant and filter: equal filters meet in one row.
    query_id text NOT NULL,
    -- Empty without tenants.
    tenant text NOT NULL,
    -- In canonical form.
    filter text NOT NULL,
    -- The partition of the filtered topic that its matches go to. Stored, not derived, so that it stays when the number
    -- of partitions grows.
    lane integer NOT NULL,
    -- Matches per second that each worker sends: the largest that any reference asks for, NULL for no limit. Kept here
    -- so that a worker reads one row per query, however many use it.
    rate_limit bigint,
    -- Somebody has a subscription: matches go to the lane.
    watched boolean NOT NULL,
    -- Of the last change to this row; readers ask for what is newer than what they have.
    revision bigint NOT NULL,
    -- For people who look.
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT query_pkey PRIMARY KEY (pipeline_id, query_id),
    CONSTRAINT query_lane_check CHECK (lane >= 0)
);
CREATE INDEX query_revision_idx ON query (pipeline_id, revision);

-- That a query was removed, for readers that follow along. Kept for an hour, at most 10,000 in a pipeline; deleted when
-- the query comes back.
CREATE TABLE removal (
    pipeline_id text NOT NULL,
    query_id text NOT NULL,
    -- Of the removal.
    revision bigint NOT NULL,
    -- Decides when the record goes.
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT removal_pkey PRIMARY KEY (pipeline_id, query_id)
);
CREATE INDEX removal_revision_idx ON removal (pipeline_id, revision);

-- What keeps a handler's uses alive. All times are the database's own.
CREATE TABLE lease (
    pipeline_id text NOT NULL,
    -- One run of a handler: random at each start.
    handler_id text NOT NULL,
    -- How long the lease lasts after a renewal, as the handler was started with.
    lease_ms bigint NOT NULL,
    -- Since when it has been renewed without interruption: whoever was cut off itself may not judge others.
    continuous_since timestamptz NOT NULL,
    -- The lease runs out `lease_ms` later.
    renewed_at timestamptz NOT NULL,
    CONSTRAINT lease_pkey PRIMARY KEY (pipeline_id, handler_id),
    CONSTRAINT lease_ms_check CHECK (lease_ms > 0)
);

-- A handler's use of a query, for all its subscriptions to it together.
CREATE TABLE query_use (
    pipeline_id text NOT NULL,
    query_id text NOT NULL,
    handler_id text NOT NULL,
    -- How many subscriptions; the query is watched while any use has one.
    subscribers bigint NOT NULL,
    -- The largest rate any of them asks for, matches per second; NULL for no limit.
    rate_limit bigint,
    CONSTRAINT query_use_pkey PRIMARY KEY (pipeline_id, query_id, handler_id)
);
CREATE INDEX query_use_handler_idx ON query_use (pipeline_id, handler_id);

-- What a ClickstreamQuery asks for. Written by the operator, read by handlers for their viewers.
CREATE TABLE standing (
    pipeline_id text NOT NULL,
    -- Of the ClickstreamQuery; viewers join it by these two.
    namespace text NOT NULL,
    name text NOT NULL,
    -- Its metadata.uid: an object deleted and made again under the same name is another one.
    uid text NOT NULL,
    -- Its metadata.generation: an operator that is behind cannot overwrite a newer one.
    generation bigint NOT NULL,
    -- What it refers to while it is not suspended. While it is, there is no such row.
    query_id text NOT NULL,
    -- Empty without tenants.
    tenant text NOT NULL,
    -- In canonical form.
    filter text NOT NULL,
    -- Projection for viewers: dotted paths, empty for the whole event.
    fields text[] NOT NULL,
    -- Matches per second for a viewer who asks for no other; NULL for no limit.
    rate_limit bigint,
    -- Not matched.
    suspended boolean NOT NULL,
    -- The topic that every match is written to, without a limit; NULL for none. Whoever creates and keeps the topic is
    -- not the workers' concern.
    sink_topic text,
    CONSTRAINT standing_pkey PRIMARY KEY (pipeline_id, namespace, name)
);
CREATE INDEX standing_query_idx ON standing (pipeline_id, query_id);
CREATE INDEX standing_uid_idx ON standing (pipeline_id, uid);

-- A running worker, as it reports itself. Not part of the set of queries: no revision, no lock.
CREATE TABLE worker (
    pipeline_id text NOT NULL,
    -- One run of it: random at each start.
    worker_id text NOT NULL,
    -- What it runs; tells when a query is programmed everywhere.
    revision bigint NOT NULL,
    -- How many lanes it can write to; handlers pick below the smallest.
    lanes bigint NOT NULL,
    -- How many source partitions it owns.
    partitions bigint NOT NULL,
    -- It counts while this is under 15 s old.
    seen_at timestamptz NOT NULL,
    -- Matches per second of standing queries, as two arrays of equal length: written whole, at most every 30 s.
    standing_query_ids text[] NOT NULL DEFAULT '{}',
    standing_rates double precision[] NOT NULL DEFAULT '{}',
    -- What it could not write to sinks of standing queries lately, as three arrays of equal length: the
    -- ClickstreamQuery's uid, the reason, how many matches since the worker started. Empty when all is well.
    sink_uids text[] NOT NULL DEFAULT '{}',
    sink_reasons text[] NOT NULL DEFAULT '{}',
    sink_dropped bigint[] NOT NULL DEFAULT '{}',
    -- Events per second of event types in its sample, likewise. Kept with the worker so that they go with it.
    type_names text[] NOT NULL DEFAULT '{}',
    type_rates double precision[] NOT NULL DEFAULT '{}',
    CONSTRAINT worker_pkey PRIMARY KEY (pipeline_id, worker_id)
);

-- A running handler, likewise.
CREATE TABLE handler (
    pipeline_id text NOT NULL,
    handler_id text NOT NULL,
    -- What it has read.
    revision bigint NOT NULL,
    -- Open client connections.
    connections bigint NOT NULL,
    -- Viewers of standing queries, as three arrays of equal length.
    viewed_namespaces text[] NOT NULL,
    viewed_names text[] NOT NULL,
    viewers bigint[] NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT handler_pkey PRIMARY KEY (pipeline_id, handler_id)
);

-- How many partitions a source topic had when the pipeline's first worker saw it: those without a committed offset
-- start at their end, partitions added later at their beginning.
CREATE TABLE source_topic (
    pipeline_id text NOT NULL,
    topic text NOT NULL,
    partitions integer NOT NULL,
    CONSTRAINT source_topic_pkey PRIMARY KEY (pipeline_id, topic),
    CONSTRAINT source_topic_partitions_check CHECK (partitions > 0)
);

-- Event types seen in the workers' samples; at most 500 in a pipeline.
CREATE TABLE event_type (
    pipeline_id text NOT NULL,
    name text NOT NULL,
    -- The one seen longest ago goes first.
    last_seen_at timestamptz NOT NULL,
    CONSTRAINT event_type_pkey PRIMARY KEY (pipeline_id, name)
);

-- Field paths seen in the workers' samples; at most 2,000 in a pipeline.
CREATE TABLE event_field (
    pipeline_id text NOT NULL,
    -- Dotted.
    path text NOT NULL,
    -- Array of the kinds of value seen there. JSON, because PostgreSQL cannot unnest arrays of arrays.
    kinds jsonb NOT NULL,
    -- Array of at most 20 values seen there, newest first.
    examples jsonb NOT NULL,
    CONSTRAINT event_field_pkey PRIMARY KEY (pipeline_id, path)
);
