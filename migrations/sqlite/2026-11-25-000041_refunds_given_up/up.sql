-- Refunds that a channel gave up on, few among millions: the operators' list asks for them.
CREATE INDEX refunds_given_up ON refunds (order_id) WHERE state = 'failed';
