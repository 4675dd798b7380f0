-- A refund that only a channel's bill knows is taken over by its order: which trade a bill's refund gave back, where the
-- bill says it, and which attempt of ours a difference's fix would take the refund over for.
ALTER TABLE bill_lines ADD COLUMN of_trade TEXT;
ALTER TABLE differences ADD COLUMN adopts TEXT;
