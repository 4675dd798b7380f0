ALTER TABLE differences DROP COLUMN adopts;
ALTER TABLE bill_lines DROP COLUMN of_trade;
