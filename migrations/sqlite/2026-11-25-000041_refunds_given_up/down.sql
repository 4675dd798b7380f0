DROP INDEX refunds_given_up;
