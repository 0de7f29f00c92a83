-- Version 3 of the ledger. Released steps are never edited.

-- The request that a row is a part of: the socket of a response, the request whose bill came late.
ALTER TABLE requests ADD COLUMN parent BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';

-- Whether its usage was billed with the answer (''), is to come ('deferred'), or came ('late').
ALTER TABLE requests ADD COLUMN billing TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN answer_id TEXT NOT NULL DEFAULT '';

-- Which rules an estimate rests on, and how far off it may be.
ALTER TABLE requests ADD COLUMN estimate TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN estimate_error_percent INTEGER NOT NULL DEFAULT 0;

-- What is still to be billed is looked for at every start.
CREATE INDEX requests_deferred ON requests (started_at) WHERE answer_id <> '';
