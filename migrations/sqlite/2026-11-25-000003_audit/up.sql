-- The chain over each order's history, the seal of webhooks' deliveries, and marks of the store as a whole.
-- Rows from before get their links at the next opening (store/src/sqlite/backfill.rs); until then they are empty.
ALTER TABLE order_events ADD COLUMN hash BLOB NOT NULL DEFAULT x'';
-- The transition that a webhook belongs to; 0 until the backfill.
ALTER TABLE webhooks_out ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhooks_out ADD COLUMN seal BIGINT NOT NULL DEFAULT 0;

CREATE TABLE store_marks (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  at BIGINT NOT NULL
) WITHOUT ROWID;
-- Names this store in backups and certificates; a restored copy keeps the name.
INSERT INTO store_marks (key, value, at)
  VALUES ('store_id', lower(hex(randomblob(16))), CAST(strftime('%s', 'now') AS INTEGER) * 1000000);
