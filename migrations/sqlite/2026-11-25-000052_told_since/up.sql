-- Since when the message about a day's differences is owed. It may be owed again: a difference that waited for the
-- neighbouring day's bill opens late.
ALTER TABLE bill_runs ADD COLUMN told_since BIGINT;
UPDATE bill_runs SET told_since = ended_at WHERE told <> 'none';
