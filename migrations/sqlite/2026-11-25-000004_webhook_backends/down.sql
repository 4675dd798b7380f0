DROP TABLE webhook_resends;
DROP INDEX webhooks_dead;
DROP INDEX webhooks_due_next;
DROP INDEX webhooks_due_oldest;
CREATE INDEX webhooks_due ON webhooks_out (next_at) WHERE state = 'due';
ALTER TABLE webhooks_out DROP COLUMN since;
ALTER TABLE webhooks_out DROP COLUMN backend;
