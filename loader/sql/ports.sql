-- Every code that a price may name.
SELECT code FROM ports;
