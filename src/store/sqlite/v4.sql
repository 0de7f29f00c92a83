-- Version 4 of the ledger. Released steps are never edited.

-- Rows from before stay as they are: rewriting millions of them would hold up a start for minutes. The table that
-- other programs read is a view of both from here on.
ALTER TABLE requests RENAME TO requests_v3;

-- What the same callers and the same kinds of requests say again and again is said once. A digest of all words
-- finds them.
CREATE TABLE spenders (
    spender INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    team TEXT NOT NULL,
    key TEXT NOT NULL,
    user TEXT NOT NULL,
    model TEXT NOT NULL,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE kinds (
    kind INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    outcome TEXT NOT NULL,
    error TEXT NOT NULL,
    operation TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    response_model TEXT NOT NULL,
    upstream TEXT NOT NULL,
    cache TEXT NOT NULL,
    usage_source TEXT NOT NULL,
    catalogue TEXT NOT NULL,
    rates TEXT NOT NULL,
    disconnect TEXT NOT NULL,
    service_tier TEXT NOT NULL,
    price_name TEXT NOT NULL,
    price_source TEXT NOT NULL,
    billing TEXT NOT NULL,
    status INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    stream INTEGER NOT NULL
) STRICT;

-- One row per request, in the order in which they ended. Whatever most requests have not is NULL, and in `more`
-- under its column's name.
CREATE TABLE entries (
    entry INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    id BLOB NOT NULL,
    admitted_at INTEGER NOT NULL,
    spender INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    cost_nano_usd INTEGER,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    run TEXT,
    cached_input_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    reserved_nano_usd INTEGER NOT NULL,
    reserved_tokens INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    first_token_us INTEGER NOT NULL,
    overhead_us INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    trace ANY,
    answer_id TEXT,
    more TEXT
) STRICT;

-- A request that is saved twice began at the same instant both times: one index tells it, and finds a span of time.
CREATE UNIQUE INDEX entries_by_time ON entries (started_at, id);

-- Neither takes anything of rows without.
CREATE INDEX entries_of_runs ON entries (admitted_at) WHERE run IS NOT NULL;
CREATE INDEX entries_deferred ON entries (started_at) WHERE answer_id IS NOT NULL;

-- What was spent by whom in each span of time, so that a start reads sums and not rows. A span is a number of
-- nanoseconds, its spans are counted from 1970 on, and all of them hold the same rows.
CREATE TABLE sums (
    span INTEGER NOT NULL,
    place INTEGER NOT NULL,
    spender INTEGER NOT NULL,
    first_admitted_at INTEGER NOT NULL,
    first_started_at INTEGER NOT NULL,
    last_started_at INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (span, place, spender)
) STRICT, WITHOUT ROWID;

-- Up to where rows are in the sums; those behind count by themselves.
CREATE TABLE summed (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    entries INTEGER NOT NULL,
    requests_v3 INTEGER NOT NULL
) STRICT;
INSERT INTO summed VALUES (1, 0, 0);

-- Entries as rows of all columns.
CREATE VIEW entries_in_full AS
SELECT id, started_at, outcome, status, error, team, key, user, coalesce(run, '') AS run,
    coalesce(more ->> 'session', '') AS session, tags, operation, model, upstream_model, response_model, upstream,
    attempts, stream, cache, input_tokens, cached_input_tokens,
    coalesce(more ->> 'cache_write_tokens', 0) AS cache_write_tokens,
    coalesce(more ->> 'cache_write_long_tokens', 0) AS cache_write_long_tokens,
    coalesce(more ->> 'input_audio_tokens', 0) AS input_audio_tokens,
    coalesce(more ->> 'input_image_tokens', 0) AS input_image_tokens,
    output_tokens, reasoning_tokens,
    coalesce(more ->> 'output_audio_tokens', 0) AS output_audio_tokens,
    coalesce(more ->> 'output_image_tokens', 0) AS output_image_tokens,
    coalesce(more ->> 'seconds', 0) AS seconds,
    coalesce(more ->> 'characters', 0) AS characters,
    coalesce(more ->> 'images', 0) AS images,
    coalesce(more ->> 'web_searches', 0) AS web_searches,
    usage_source, cost_nano_usd, coalesce(more ->> 'saved_nano_usd', 0) AS saved_nano_usd,
    reserved_nano_usd, reserved_tokens, catalogue, rates, duration_us, first_token_us, overhead_us, response_bytes,
    CASE typeof(trace) WHEN 'blob' THEN lower(hex(trace)) ELSE coalesce(trace, '') END AS trace_id,
    admitted_at, disconnect, service_tier, price_name, price_source,
    coalesce(more ->> 'extra_usage', '') AS extra_usage,
    coalesce(more ->> 'attempt_log', '') AS attempt_log,
    unhex(coalesce(more ->> 'parent', '00000000000000000000000000000000')) AS parent,
    billing, coalesce(answer_id, '') AS answer_id,
    coalesce(more ->> 'estimate', '') AS estimate,
    coalesce(more ->> 'estimate_error_percent', 0) AS estimate_error_percent,
    entry, spender, answer_id IS NOT NULL AS is_deferred
-- in this order: entries are found by time, the others by them
FROM entries CROSS JOIN spenders USING (spender) CROSS JOIN kinds USING (kind);

-- All rows.
CREATE VIEW requests AS
SELECT id, started_at, outcome, status, error, team, key, user, run, session, tags, operation, model, upstream_model,
    response_model, upstream, attempts, stream, cache, input_tokens, cached_input_tokens, cache_write_tokens,
    cache_write_long_tokens, input_audio_tokens, input_image_tokens, output_tokens, reasoning_tokens,
    output_audio_tokens, output_image_tokens, seconds, characters, images, web_searches, usage_source, cost_nano_usd,
    saved_nano_usd, reserved_nano_usd, reserved_tokens, catalogue, rates, duration_us, first_token_us, overhead_us,
    response_bytes, trace_id, admitted_at, disconnect, service_tier, price_name, price_source, extra_usage,
    attempt_log, parent, billing, answer_id, estimate, estimate_error_percent
FROM requests_v3
UNION ALL
SELECT id, started_at, outcome, status, error, team, key, user, run, session, tags, operation, model, upstream_model,
    response_model, upstream, attempts, stream, cache, input_tokens, cached_input_tokens, cache_write_tokens,
    cache_write_long_tokens, input_audio_tokens, input_image_tokens, output_tokens, reasoning_tokens,
    output_audio_tokens, output_image_tokens, seconds, characters, images, web_searches, usage_source, cost_nano_usd,
    saved_nano_usd, reserved_nano_usd, reserved_tokens, catalogue, rates, duration_us, first_token_us, overhead_us,
    response_bytes, trace_id, admitted_at, disconnect, service_tier, price_name, price_source, extra_usage,
    attempt_log, parent, billing, answer_id, estimate, estimate_error_percent
FROM entries_in_full;
