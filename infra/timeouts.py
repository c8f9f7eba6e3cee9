"""Times that depend on each other, in seconds: their one home. `tests/infra/test_timeouts.py` holds them
against each other and against what the images say.

A request that is under way outlives its task's leaving: request <= deregistration, graceful < stop. A chunk
ends before its task is killed: chunk < stop; its message is kept meanwhile: heartbeats < kept < visibility. A
rollout outlives an alarm: alarm < canary, alarm < bake.
"""

# The most that AWS gives a task on Fargate between telling it to stop and killing it; on Spot, the notice.
FARGATE_STOP_MAX_S = 120

# A request that takes longer is lost when its task is replaced.
REQUEST_S = 30
# The load balancer lets a task that leaves end its requests for so long. A file that takes longer to arrive
# may be lost in a deploy, and is sent again under the same Idempotency-Key; big ones go to a presigned
# address instead, which is S3's and knows no deploys.
DEREGISTRATION_S = 60
# The load balancer closes a connection on which nothing moves after this: neither a file under way, nor an
# answer that takes no longer than a request may. It does so before the API does (`keepalive`), or it would
# send a request into a closed one.
CONNECTION_IDLE_S = 60
# The load balancer sends requests for 3 to 5 s after a task is told to stop
# (github.com/aws/containers-roadmap/issues/708).
LEARNED_S = 5
# So long the API goes on serving. More would cost nothing on Fargate, but `docker stop` kills after 10 s.
DRAIN_S = 7
# The API is killed after this; longer than it takes itself (`graceful_timeout`).
API_STOP_S = 90

# A database fails over in 60 to 120 s. A task is replaced for not being ready only later: a new one could not
# be ready either.
FAILOVER_S = 120
READY_INTERVAL_S = 15
# The readiness check waits 2 s for a connection of the pool.
READY_TIMEOUT_S = 5
READY_FAILURES = 10
# A first task migrates before it serves; until then nobody counts its health against it.
START_S = 180

# A chunk is one transaction, and meant to take seconds; the loader ends the one it has in hand.
CHUNK_S = 60
LOADER_STOP_S = FARGATE_STOP_MAX_S
# A loader takes a message for so long, and says again and again that it still has it. Of one that is killed,
# the next gets it after this.
KEPT_S = 60
# For whoever asks for no time of its own. A message that nobody deleted is handed out again after this.
VISIBILITY_S = 300
# The most that SQS lets a question wait for a message.
LONG_POLL_S = 20

# A rollout, in the minutes in which ECS counts. So long Pulumi waits for tasks to get ready and old ones to
# go; what else a rollout takes comes on top.
ROLLING_MINUTES = 20
# An alarm that undoes a rollout sounds after this many bad minutes.
ALARM_MINUTES = 5
# A few requests go to new tasks for so long, before all do; twice what an alarm needs.
CANARY_MINUTES = 10
# Between two steps of a linear rollout. An alarm sounds before the third, when a fifth of the requests moved.
LINEAR_STEP_MINUTES = 3
# Old tasks stay for so long after new ones have all requests, so that going back takes seconds.
BAKE_MINUTES = 10
