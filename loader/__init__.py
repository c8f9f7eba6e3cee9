"""Puts batches of prices into PostgreSQL whole or not at all.

Read from left to right: `inputs` has the bytes, `formats` and `dump` the rows, `sources` cuts them into
chunks → `check` judges and types a chunk as columns → `totals` adds it up, `identity` makes a number of it →
`ledger` opens the batch and writes each chunk, `chunk_rows` its rows, in one transaction → `publish` makes
the batch count, unless `others` that are published forbid it. `load` runs the chain and `progress` tells of
it; `withdraw` takes a batch back. Of a chunk that is not clean, `faults` says what is wrong, `kinds` counts
that, `near_codes` proposes ports, `rejects` keeps the bad rows. `places` are regions and ports, which
`place_files` reads where they come by themselves.

What came over HTTP takes the same way, in steps that any worker may do: `accepted` finds it in the bucket →
`plan` writes down its chunks, as `cut` cuts its `content` → `schedule` picks one that is `planned`, has it
checked and written, and the last one published. `work` has a slot for each message that is `taken` from the
queue, and `tickets` knows what it asks for; `redrive` goes on with what was given up. Beside it `tidy` does
what nobody waits for: `compact` folds what counts, `discard` throws away what counts no more.
"""

import os

# What Polars reads when it is imported. Chunks run beside each other: threads within each are in the way.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
# By itself it lets its allocator keep heaps for each core, and a load takes a fifth more memory.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0")
