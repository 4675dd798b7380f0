-- Reconciliation: bills of channels, their lines, what differs, and who did what about it. Times are microseconds since
-- the epoch, UTC; amounts are fen.

-- When the channel captured, and how we know: a day's captures are compared with the day's bill, and a capture without a
-- notification is a gap to be looked at.
ALTER TABLE attempts ADD COLUMN captured_at BIGINT;
ALTER TABLE attempts ADD COLUMN captured_by TEXT;
ALTER TABLE refunds ADD COLUMN done_at BIGINT;
UPDATE attempts SET
  captured_at = (SELECT json_extract(f.value, '$.at') FROM order_events e, json_each(e.facts) f
    WHERE e.order_id = attempts.order_id AND json_extract(f.value, '$.fact') = 'captured'
      AND json_extract(f.value, '$.no') = attempts.no),
  captured_by = (SELECT json_extract(f.value, '$.source') FROM order_events e, json_each(e.facts) f
    WHERE e.order_id = attempts.order_id AND json_extract(f.value, '$.fact') = 'captured'
      AND json_extract(f.value, '$.no') = attempts.no)
  WHERE capture_fen IS NOT NULL;
UPDATE refunds SET
  done_at = (SELECT json_extract(f.value, '$.at') FROM order_events e, json_each(e.facts) f
    WHERE e.order_id = refunds.order_id AND json_extract(f.value, '$.fact') = 'refund_succeeded'
      AND json_extract(f.value, '$.refund_no') = refunds.refund_no)
  WHERE state = 'succeeded';
CREATE INDEX attempts_captured ON attempts (channel, captured_at) WHERE captured_at IS NOT NULL;
CREATE INDEX refunds_done ON refunds (done_at) WHERE done_at IS NOT NULL;

-- One day of one channel, from "wanted" to "matched". Everything before 'done' is invisible to readers of differences.
CREATE TABLE bill_runs (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  channel TEXT NOT NULL,
  day TEXT NOT NULL CHECK (length(day) = 10),
  state TEXT NOT NULL CHECK (state IN ('waiting', 'importing', 'matching', 'done')),
  asked_at BIGINT NOT NULL,
  asked_by TEXT NOT NULL,
  -- Fetching: the bill may not exist yet.
  tries BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  problem TEXT,
  -- The file, kept under its hash.
  fetched_at BIGINT,
  file_hash TEXT,
  file_bytes BIGINT NOT NULL,
  -- What the file holds.
  lines BIGINT NOT NULL,
  paid_fen BIGINT NOT NULL,
  refunded_fen BIGINT NOT NULL,
  fee_fen BIGINT NOT NULL,
  -- Breakpoints: lines up to this one are imported; numbers up to this one are matched.
  line_done BIGINT NOT NULL,
  step TEXT NOT NULL CHECK (step IN ('theirs', 'payments', 'refunds')),
  cursor TEXT NOT NULL,
  matched BIGINT NOT NULL,
  ended_at BIGINT,
  -- Who works on it, and until when nobody else may.
  owner TEXT NOT NULL,
  lease_until BIGINT NOT NULL,
  -- The message about its differences: none is owed, due, delivered, given up.
  told TEXT NOT NULL CHECK (told IN ('none', 'due', 'delivered', 'dead')),
  told_tries BIGINT NOT NULL,
  told_at BIGINT,
  UNIQUE (channel, day)
);
CREATE INDEX bill_runs_day ON bill_runs (day);

CREATE TABLE bill_lines (
  run_id BIGINT NOT NULL REFERENCES bill_runs (id),
  subject TEXT NOT NULL CHECK (subject IN ('payment', 'refund')),
  number TEXT NOT NULL,
  line BIGINT NOT NULL,
  reversal BIGINT NOT NULL CHECK (reversal IN (0, 1)),
  trade_no TEXT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
  fee_fen BIGINT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (run_id, subject, number, line)
) WITHOUT ROWID;

CREATE TABLE differences (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  run_id BIGINT NOT NULL REFERENCES bill_runs (id),
  channel TEXT NOT NULL,
  day TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('missing_at_channel', 'missing_here', 'amount', 'state', 'refund', 'fee')),
  subject TEXT NOT NULL CHECK (subject IN ('payment', 'refund')),
  number TEXT NOT NULL,
  order_id TEXT,
  ours_fen BIGINT,
  theirs_fen BIGINT,
  trade_no TEXT NOT NULL,
  line BIGINT,
  at BIGINT,
  fix TEXT NOT NULL CHECK (fix IN ('mark', 'refund', 'write_off')),
  fix_fen BIGINT NOT NULL CHECK (fix_fen >= 0),
  detail TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN
    ('waiting', 'open', 'confirmed_once', 'fixing', 'fixed', 'written_off', 'resolved', 'stale')),
  -- What was confirmed, and by whom.
  chosen TEXT CHECK (chosen IN ('mark', 'refund', 'write_off')),
  first_by TEXT,
  second_by TEXT,
  -- The number of a refund of ours that belongs to no order; written down before the channel is called.
  refund_no TEXT UNIQUE,
  outcome TEXT,
  found_at BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  UNIQUE (run_id, kind, subject, number)
);
CREATE INDEX differences_live ON differences (state) WHERE state IN ('waiting', 'open', 'confirmed_once', 'fixing');

-- Who did what about a difference; append only.
CREATE TABLE difference_acts (
  seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  difference_id BIGINT NOT NULL REFERENCES differences (id),
  at BIGINT NOT NULL,
  by TEXT NOT NULL,
  act TEXT NOT NULL,
  note TEXT NOT NULL
);
CREATE INDEX difference_acts_of ON difference_acts (difference_id);

-- Captures that no notification told us of, with what a query said of them.
CREATE TABLE gaps (
  channel_order_no TEXT NOT NULL PRIMARY KEY,
  channel TEXT NOT NULL,
  order_id TEXT NOT NULL,
  captured_at BIGINT NOT NULL,
  captured_by TEXT NOT NULL,
  checked_at BIGINT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('matched', 'differs', 'unanswered')),
  detail TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX gaps_captured ON gaps (captured_at);
