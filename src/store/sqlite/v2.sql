-- Version 2 of the ledger. Released steps are never edited.

-- When budgets charged the request; 0 if it was never admitted. Before this it was charged as it began.
ALTER TABLE requests ADD COLUMN admitted_at INTEGER NOT NULL DEFAULT 0;
UPDATE requests SET admitted_at = started_at WHERE outcome <> 'refused' OR attempts > 0;

ALTER TABLE requests ADD COLUMN disconnect TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN service_tier TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN price_name TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN price_source TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN extra_usage TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN attempt_log TEXT NOT NULL DEFAULT '';

-- Counters are rebuilt from what was admitted since their windows began, everyone's in one pass.
CREATE INDEX requests_by_admission ON requests (admitted_at) WHERE admitted_at > 0;

-- What counters needed of this index they now read by admission: reports need less.
DROP INDEX requests_by_team;
CREATE INDEX requests_by_team ON requests (team, started_at);

-- What was admitted and is retired: sums that budgets without an end still count.
CREATE TABLE retired (
    team TEXT NOT NULL,
    key TEXT NOT NULL,
    user TEXT NOT NULL,
    model TEXT NOT NULL,
    tags TEXT NOT NULL,
    first_admitted_at INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (team, key, user, model, tags)
) STRICT, WITHOUT ROWID;

-- How far rows were retired; one row, none before the first.
CREATE TABLE retention (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    retired_before INTEGER NOT NULL,
    retired_rows INTEGER NOT NULL
) STRICT;
