-- Said before a posting's first delta is folded: from then on it is taken back by a reversal only.
UPDATE postings SET folding = true WHERE NOT folding;
