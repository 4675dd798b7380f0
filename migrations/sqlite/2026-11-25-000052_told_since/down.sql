ALTER TABLE bill_runs DROP COLUMN told_since;
