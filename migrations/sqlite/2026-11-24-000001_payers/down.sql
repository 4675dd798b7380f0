DROP TABLE payers;
