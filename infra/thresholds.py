"""From where on a person is told, in one place; `alarms` says of what. Each minute has one value.

Most are what AWS advises for the metric. The others, ours, say why.
"""

from infra import timeouts
from infra.storage import RECEIVES_MAX

# Below so many requests in a minute, a percentage says nothing: one of two would be half.
REQUESTS_MIN = 20
ERRORS_PERCENT = 5
# A question reads a few index pages; its limit is `timeouts.REQUEST_S`.
SLOW_S = 2
SLOW_PERCENT = 1
# Where gaps are filled up with zeros, the last minutes look better than they are, since values come late; so
# not all have to be bad.
ERROR_MINUTES, ERROR_MINUTES_OF = 3, 5
# A target is unhealthy only after `timeouts.READY_FAILURES` checks.
UNHEALTHY_MINUTES = 2
GONE_MINUTES = 3
# In a copy that sleeps at night, tasks start while the database does.
WAKING_MINUTES = 15

CPU_PERCENT = 90
MEMORY_PERCENT = 90
BUSY_MINUTES = 5

# Of sessions that work or wait, for each processor.
LOAD_PER_VCPU = 1
# What PostgreSQL leaves free is its cache's too: below, it starts to swap.
FREE_MEMORY_SHARE = 0.05
PRESSED_MINUTES = 15
FREE_STORAGE_BYTES = 5 * 10**9
WRITE_S = 0.1
READ_S = 0.02
# So much later a reader's answers may be.
REPLICA_LAG_MS = 1000
# RDS allows a connection for so many bytes, 5,000 at most; 2,000 in a cluster that goes down to half a unit.
CONNECTION_BYTES = 9_531_392
CONNECTIONS_MAX, SMALL_CLUSTER_CONNECTIONS_MAX = 5000, 2000
# A server takes up to a fifth of its memory before it counts: of what is left, these are three quarters.
CONNECTIONS_SHARE = 0.6

# A message that fails each time is with a loader for so long at most, until it is a dead letter. One that is
# kept (`timeouts.KEPT_S`) comes back sooner.
OLDEST_MESSAGE_S = 1.5 * timeouts.VISIBILITY_S * RECEIVES_MAX
DEAD_LETTERS = 0
# Of a minute: each is told to somebody who waits for it, and worth a look.
BATCHES_FAILED = 0
BATCHES_LATE = 0
CALLBACKS_GIVEN_UP = 0
# Until SQS throws the first away, there are still so many days.
DEAD_LETTER_DAYS_LEFT = 4
