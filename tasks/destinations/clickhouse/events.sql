-- The table of the destination type `clickhouse`, shape = "events". Columns may be left out or added: what an insert has
-- and the table lacks is passed over. A replicated server takes ReplicatedReplacingMergeTree in place of the engine, and
-- no setting, since there the window is on.
CREATE TABLE IF NOT EXISTS events
(
    timestamp DateTime64(6, 'UTC'),
    id String,
    name LowCardinality(String),
    user_id String,
    username String,
    session String,
    course_id LowCardinality(String),
    org_id LowCardinality(String),
    data String CODEC(ZSTD(3)),
    context String CODEC(ZSTD(3))
)
-- What slipped through both tokens and looks is merged away; `SELECT … FROM events FINAL` does without it at once.
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (timestamp, id)
-- Without it a table that is not replicated drops no repeat, whatever token comes with it.
SETTINGS non_replicated_deduplication_window = 1000
