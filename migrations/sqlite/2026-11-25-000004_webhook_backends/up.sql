-- Webhooks by backend, so that one backend's backlog stands in front of nobody else's; and resends by operators.

-- Host and port of `url` (domain::webhook::backend): what shares a breaker, slots and a dead-letter list.
ALTER TABLE webhooks_out ADD COLUMN backend TEXT;
-- When the schedule of tries began: the webhook was written, or resent by hand.
ALTER TABLE webhooks_out ADD COLUMN since BIGINT NOT NULL DEFAULT 0;

-- Addresses were held to http:// or https://, a host, and a path.
UPDATE webhooks_out SET since = created_at;
UPDATE webhooks_out SET backend = lower(substr(url, instr(url, '://') + 3)) WHERE url IS NOT NULL;
UPDATE webhooks_out SET backend = substr(backend, 1, instr(backend, '/') - 1) WHERE instr(backend, '/') > 0;
UPDATE webhooks_out SET backend = substr(backend, 1, instr(backend, '?') - 1) WHERE instr(backend, '?') > 0;
UPDATE webhooks_out SET backend = substr(backend, 1, instr(backend, '#') - 1) WHERE instr(backend, '#') > 0;
UPDATE webhooks_out SET backend = substr(backend, instr(backend, '@') + 1) WHERE instr(backend, '@') > 0;

-- What is due, by backend: oldest first, and whether something is due at all. They take the place of one over all.
DROP INDEX webhooks_due;
CREATE INDEX webhooks_due_oldest ON webhooks_out (backend, since) WHERE state = 'due';
CREATE INDEX webhooks_due_next ON webhooks_out (backend, next_at) WHERE state = 'due';
CREATE INDEX webhooks_dead ON webhooks_out (backend, since) WHERE state = 'dead';

-- Acts of operators: one webhook or all dead ones of a backend sent again.
CREATE TABLE webhook_resends (
  id TEXT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  by TEXT NOT NULL,
  webhook_id TEXT,
  backend TEXT,
  resent BIGINT NOT NULL CHECK (resent >= 0),
  CHECK ((webhook_id IS NULL) <> (backend IS NULL))
) WITHOUT ROWID;
