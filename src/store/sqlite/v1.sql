-- Version 1 of the ledger. Released steps are never edited.
CREATE TABLE schema_versions (
    version INTEGER PRIMARY KEY
) STRICT;

-- One row per request. The id is our own, so a row that is saved twice is one row.
CREATE TABLE requests (
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    started_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    team TEXT NOT NULL,
    key TEXT NOT NULL,
    user TEXT NOT NULL,
    run TEXT NOT NULL,
    session TEXT NOT NULL,
    tags TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    response_model TEXT NOT NULL,
    upstream TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    cache TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    cache_write_long_tokens INTEGER NOT NULL,
    input_audio_tokens INTEGER NOT NULL,
    input_image_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    output_audio_tokens INTEGER NOT NULL,
    output_image_tokens INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    images INTEGER NOT NULL,
    web_searches INTEGER NOT NULL,
    usage_source TEXT NOT NULL,
    cost_nano_usd INTEGER,
    saved_nano_usd INTEGER NOT NULL,
    reserved_nano_usd INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    catalogue TEXT NOT NULL,
    rates TEXT NOT NULL,
    duration_us INTEGER NOT NULL,
    first_token_us INTEGER NOT NULL,
    overhead_us INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    trace_id TEXT NOT NULL
) STRICT;

CREATE INDEX requests_by_time ON requests (started_at);

-- Holds all that counters are rebuilt from, so that a start reads the index alone.
CREATE INDEX requests_by_team ON requests (team, started_at, key, cost_nano_usd, input_tokens, output_tokens);

-- How far the journal is in the table above; one row.
CREATE TABLE checkpoint (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    replay_segment INTEGER NOT NULL,
    replay_offset INTEGER NOT NULL,
    settled_segment INTEGER NOT NULL,
    settled_offset INTEGER NOT NULL
) STRICT;
