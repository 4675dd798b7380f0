-- Durable memory. Column types stay portable (TEXT, BIGINT, BLOB); times are microseconds since the epoch, UTC;
-- amounts are fen. CHECKs repeat what the rules promise, so that a mistake of ours cannot become a row.

CREATE TABLE orders (
  id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 26),
  merchant_id TEXT NOT NULL,
  order_no TEXT NOT NULL,
  -- Identifies the accepted body: the same number with another body is refused.
  body_hash TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'processing', 'success', 'failed', 'suspicious')),
  -- 1 when nothing is owed any more; the sweep after a restart reads the others.
  settled BIGINT NOT NULL CHECK (settled IN (0, 1)),
  version BIGINT NOT NULL CHECK (version >= 1),
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  net_fen BIGINT NOT NULL CHECK (net_fen >= 0),
  payer_id TEXT NOT NULL,
  failure TEXT,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  UNIQUE (merchant_id, order_no),
  CHECK (settled = 0 OR state IN ('success', 'failed')),
  CHECK (state <> 'success' OR net_fen <= amount_fen OR settled = 0)
);
-- Open orders only: a lunch's finished orders cost the sweep nothing.
CREATE INDEX orders_open ON orders (id) WHERE settled = 0;
CREATE INDEX orders_suspicious ON orders (id) WHERE state = 'suspicious';

CREATE TABLE attempts (
  order_id TEXT NOT NULL REFERENCES orders (id),
  no BIGINT NOT NULL CHECK (no BETWEEN 1 AND 99),
  channel TEXT NOT NULL,
  channel_order_no TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN
    ('calling', 'exposed', 'closing', 'never_exposed', 'closed', 'declined', 'captured')),
  exposed_at BIGINT,
  capture_fen BIGINT CHECK (capture_fen > 0),
  trade_no TEXT,
  PRIMARY KEY (order_id, no),
  CHECK ((state = 'captured') = (capture_fen IS NOT NULL))
) WITHOUT ROWID;

CREATE TABLE order_events (
  order_id TEXT NOT NULL REFERENCES orders (id),
  -- The fence: of two writers of one version, one fails.
  version BIGINT NOT NULL CHECK (version >= 1),
  at BIGINT NOT NULL,
  event TEXT NOT NULL,
  source TEXT NOT NULL,
  reference TEXT NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (order_id, version)
) WITHOUT ROWID;

CREATE TABLE refunds (
  refund_no TEXT NOT NULL PRIMARY KEY,
  order_id TEXT NOT NULL REFERENCES orders (id),
  attempt_no BIGINT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  cause TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('booked', 'processing', 'succeeded', 'failed')),
  backend_no TEXT,
  channel_refund_id TEXT,
  booked_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX refunds_of_order ON refunds (order_id);

-- Double entry: the rows of one transition sum to zero.
CREATE TABLE books (
  order_id TEXT NOT NULL REFERENCES orders (id),
  version BIGINT NOT NULL,
  line BIGINT NOT NULL,
  account TEXT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen <> 0),
  PRIMARY KEY (order_id, version, line)
) WITHOUT ROWID;

CREATE TABLE notifications_in (
  id TEXT NOT NULL PRIMARY KEY,
  channel TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  remote TEXT NOT NULL,
  target TEXT NOT NULL,
  headers TEXT NOT NULL,
  body BLOB NOT NULL,
  verdict TEXT NOT NULL,
  reason TEXT NOT NULL,
  channel_order_no TEXT,
  answer_status BIGINT NOT NULL,
  answer_body TEXT NOT NULL,
  took_us BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX notifications_of_attempt ON notifications_in (channel_order_no) WHERE channel_order_no IS NOT NULL;

-- The outbox and the source of /v1/events: `seq` is the cursor.
CREATE TABLE webhooks_out (
  seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  order_id TEXT NOT NULL REFERENCES orders (id),
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  url TEXT,
  created_at BIGINT NOT NULL,
  -- 'none': no address was given, the line is only for /v1/events.
  state TEXT NOT NULL CHECK (state IN ('none', 'due', 'delivered', 'dead')),
  tries BIGINT NOT NULL CHECK (tries >= 0),
  next_at BIGINT,
  CHECK ((state = 'due') = (next_at IS NOT NULL)),
  CHECK ((state = 'none') = (url IS NULL))
);
CREATE INDEX webhooks_due ON webhooks_out (next_at) WHERE state = 'due';
CREATE INDEX webhooks_of_order ON webhooks_out (order_id);

CREATE TABLE webhook_tries (
  webhook_id TEXT NOT NULL REFERENCES webhooks_out (id),
  at BIGINT NOT NULL,
  status BIGINT,
  error TEXT,
  took_ms BIGINT NOT NULL,
  PRIMARY KEY (webhook_id, at)
) WITHOUT ROWID;

CREATE TABLE tuning (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  changed_at BIGINT NOT NULL,
  changed_by TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE tuning_audit (
  seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  changed_at BIGINT NOT NULL,
  changed_by TEXT NOT NULL
);

CREATE TABLE channel_switches (
  seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  at BIGINT NOT NULL,
  channel TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  from_channel TEXT NOT NULL,
  to_channel TEXT NOT NULL,
  reason TEXT NOT NULL
);
