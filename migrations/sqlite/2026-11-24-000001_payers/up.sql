-- What is known of a payer, so that the next order begins where the last one worked. No evidence: losing a row costs a
-- payer a tap, never money.
CREATE TABLE payers (
  payer_id TEXT NOT NULL PRIMARY KEY,
  account_type TEXT NOT NULL,
  -- Ids at channels, a JSON object by channel.
  accounts TEXT NOT NULL,
  last_channel TEXT NOT NULL,
  last_paid_at BIGINT NOT NULL
) WITHOUT ROWID;
