"""Puts batches of prices into PostgreSQL whole or not at all.

Read from left to right: `sources` and `dump` cut the input into chunks → `check` parses, validates and
totals a chunk as columns → `ledger` opens the batch and writes each chunk in one transaction → `publish`
flips the batch's row. `load` runs the chain, `compact` folds what was published, `work` does it for a queue.
"""
