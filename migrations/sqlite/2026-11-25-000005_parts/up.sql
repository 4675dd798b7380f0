-- An order above every channel's limit is paid in parts, each an order of its own.
-- How many parts the order is paid in; 0: it is paid itself.
ALTER TABLE orders ADD COLUMN parts BIGINT NOT NULL DEFAULT 0 CHECK (parts >= 0);
-- The order whose part this is.
ALTER TABLE orders ADD COLUMN part_of TEXT CHECK (part_of IS NULL OR parts = 0);
