DROP TABLE store_marks;
ALTER TABLE webhooks_out DROP COLUMN seal;
ALTER TABLE webhooks_out DROP COLUMN version;
ALTER TABLE order_events DROP COLUMN hash;
