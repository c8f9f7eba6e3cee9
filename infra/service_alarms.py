"""What is watched of the load balancer, the services, the queue and the batches.

What customers feel rolls a deploy of the API back; so those alarms are there before its service. The others
tell of causes, or of what no deploy would mend.
"""

from dataclasses import dataclass

import pulumi

from infra import thresholds
from infra.alarms import BAD, BELOW, Alarm
from infra.cluster import Cluster
from infra.load_balancer import LoadBalancer
from infra.metrics import (
    API,
    LOADER,
    numbered,
    of_balancer,
    of_program,
    of_queue,
    of_service,
    of_targets,
    of_tasks,
)
from infra.storage import DAY_S, DEAD_LETTERS_KEPT_S, BatchStorage

ENOUGH = thresholds.REQUESTS_MIN
# Of the answers of tasks; and of the load balancer's own, which count as no request where no task is there.
API_ERRORS_PERCENT = f"IF(requests >= {ENOUGH}, 100 * FILL(errors, 0) / requests, 0)"
ASKED = "(FILL(requests, 0) + FILL(errors, 0))"
BALANCER_ERRORS_PERCENT = f"IF({ASKED} >= {ENOUGH}, 100 * FILL(errors, 0) / {ASKED}, 0)"
# The load balancer takes the time of all requests. Those that bring a file, or wait for a batch, are long by
# their nature: the API says how many were.
SLOW_PERCENT = f"IF(requests >= {ENOUGH}, slow - 100 * FILL(long, 0) / requests, 0)"


@dataclass(frozen=True)
class Watched:
    """A service: what it is to us, its name at ECS, and how many tasks there are at least."""

    what: str
    name: pulumi.Output[str]
    tasks_min: int


def customer_alarms(balancer: LoadBalancer, stack: str) -> list[Alarm]:
    requests = of_balancer(balancer, "RequestCount", "Sum")
    return [
        Alarm(
            name="api-errors",
            means=f"Over {thresholds.ERRORS_PERCENT} % of requests are answered with a fault of ours.",
            todo="Read the log of the API; if a deploy has just ended, go back to the images before.",
            metrics={
                "requests": requests,
                "errors": of_balancer(balancer, "HTTPCode_Target_5XX_Count", "Sum"),
            },
            expression=API_ERRORS_PERCENT,
            threshold=thresholds.ERRORS_PERCENT,
            minutes=thresholds.ERROR_MINUTES,
            minutes_of=thresholds.ERROR_MINUTES_OF,
        ),
        Alarm(
            name="api-slow",
            means=f"Over {thresholds.SLOW_PERCENT} % of requests take over {thresholds.SLOW_S} s, without "
            "those that bring a file or wait for a batch.",
            todo="Look at the load of the database and of the tasks on the dashboard.",
            metrics={
                "requests": requests,
                "slow": of_balancer(balancer, "TargetResponseTime", f"PR({thresholds.SLOW_S}:)"),
                "long": of_program(API, stack, "long_requests"),
            },
            expression=SLOW_PERCENT,
            threshold=thresholds.SLOW_PERCENT,
            minutes=thresholds.ERROR_MINUTES,
            minutes_of=thresholds.ERROR_MINUTES_OF,
        ),
        Alarm(
            name="api-unhealthy",
            means="A task of the API is not ready, for longer than a failover of the database takes.",
            todo="Read its last lines in the log of the API, and the events of the service.",
            metrics=numbered("unhealthy", of_targets(balancer, "UnHealthyHostCount", "Maximum")),
            # MAX and SUM of a list pass over a group without values, where an operator would give none.
            expression="MAX([unhealthy1, unhealthy2])",
            threshold=0,
            minutes=thresholds.UNHEALTHY_MINUTES,
        ),
    ]


def balancer_alarms(balancer: LoadBalancer, sleeps: bool) -> list[Alarm]:
    return [
        Alarm(
            name="balancer-errors",
            means=f"Over {thresholds.ERRORS_PERCENT} % of requests reach no task, or get no answer from it.",
            todo="See whether tasks run and are healthy; 502 and 504 mean that they end or hang.",
            metrics={
                "requests": of_balancer(balancer, "RequestCount", "Sum"),
                "errors": of_balancer(balancer, "HTTPCode_ELB_5XX_Count", "Sum"),
            },
            expression=BALANCER_ERRORS_PERCENT,
            threshold=thresholds.ERRORS_PERCENT,
            minutes=thresholds.ERROR_MINUTES,
            minutes_of=thresholds.ERROR_MINUTES_OF,
        ),
        Alarm(
            name="api-gone",
            means="No task of the API is healthy: nobody is answered.",
            todo="Read the events of the service; see whether the database is up.",
            metrics=numbered("healthy", of_targets(balancer, "HealthyHostCount", "Maximum")),
            expression="FILL(SUM([healthy1, healthy2]), 0)",
            comparison=BELOW,
            threshold=1,
            minutes=thresholds.WAKING_MINUTES if sleeps else thresholds.GONE_MINUTES,
            missing=BAD,
        ),
    ]


def service_alarms(cluster: Cluster, service: Watched) -> list[Alarm]:
    what, name = service.what, service.name
    alarms = [
        Alarm(
            name=f"{what}-cpu",
            means=f"The tasks of the {what} have been busy for {thresholds.BUSY_MINUTES} minutes.",
            todo="If there are as many as the stack allows, raise the most, or give each more processor.",
            metrics={"cpu": of_service(cluster, name, "CPUUtilization", "Average")},
            threshold=thresholds.CPU_PERCENT,
            minutes=thresholds.BUSY_MINUTES,
        ),
        Alarm(
            name=f"{what}-memory",
            means=f"The tasks of the {what} have little memory left; without any, ECS ends them.",
            todo="See which task it is, and whether it grew since the last deploy; give each more.",
            metrics={"memory": of_service(cluster, name, "MemoryUtilization", "Average")},
            threshold=thresholds.MEMORY_PERCENT,
            minutes=thresholds.BUSY_MINUTES,
        ),
    ]
    if cluster.insights and service.tasks_min:
        least = service.tasks_min
        alarms.append(
            Alarm(
                name=f"{what}-tasks",
                means=f"Fewer tasks of the {what} run than the {least} there should be at least.",
                todo="Read the events of the service: they say why tasks end or do not start.",
                metrics={
                    "desired": of_tasks(cluster, name, "DesiredTaskCount"),
                    "running": of_tasks(cluster, name, "RunningTaskCount"),
                },
                # At night there are to be none.
                expression=f"IF(desired < {least}, desired, {least}) - running",
                threshold=0,
                minutes=thresholds.BUSY_MINUTES,
                # Nothing is counted where no task runs.
                missing=BAD,
            )
        )
    return alarms


def queue_alarms(storage: BatchStorage) -> list[Alarm]:
    days_left = thresholds.DEAD_LETTER_DAYS_LEFT
    return [
        Alarm(
            name="queue-old",
            means="A batch waits, or has been worked on, for longer than a message that fails each time.",
            todo="See whether loaders run, and read their log; a long backlog needs more of them.",
            metrics={"oldest": of_queue(storage.queue_name, "ApproximateAgeOfOldestMessage")},
            threshold=thresholds.OLDEST_MESSAGE_S,
            minutes=thresholds.BUSY_MINUTES,
        ),
        Alarm(
            name="dead-letters",
            means="A message has failed each time, and is a dead letter: its batch is not whole.",
            todo="Read the log of the loader for its reason; mend it, then send the message back.",
            metrics={"dead": of_queue(storage.dead_letter_queue_name, "ApproximateNumberOfMessagesVisible")},
            threshold=thresholds.DEAD_LETTERS,
            minutes=1,
        ),
        Alarm(
            name="dead-letters-old",
            means=f"SQS throws a dead letter away in {days_left} days.",
            todo="Send it back, or delete it if its batch is in by now.",
            metrics={"oldest": of_queue(storage.dead_letter_queue_name, "ApproximateAgeOfOldestMessage")},
            threshold=DEAD_LETTERS_KEPT_S - days_left * DAY_S,
            minutes=1,
        ),
    ]


def batch_alarms(stack: str) -> list[Alarm]:
    """What loaders count themselves, where it happens; so mostly there is no value, and all is well."""
    return [
        Alarm(
            name="batches-failed",
            means="A batch was given up after several tries: its sender is told that it failed.",
            todo="Ask `loader show BATCH` why, mend the cause, then give `loader redrive BATCH`.",
            metrics={"failed": of_program(LOADER, stack, "batches_failed")},
            threshold=thresholds.BATCHES_FAILED,
            minutes=1,
        ),
        Alarm(
            name="batches-late",
            means="A batch will miss its deadline at the rate at which it is loaded.",
            todo="See what it waits for, loaders or the database, and allow more of that.",
            metrics={"late": of_program(LOADER, stack, "batches_late")},
            threshold=thresholds.BATCHES_LATE,
            minutes=1,
        ),
        Alarm(
            name="callbacks-given-up",
            means="Somebody who wanted to be told of the end of a batch could not be reached.",
            todo="Tell them, and ask for the address: it has to answer over HTTPS, port 443.",
            metrics={"given_up": of_program(LOADER, stack, "callbacks_given_up")},
            threshold=thresholds.CALLBACKS_GIVEN_UP,
            minutes=1,
        ),
    ]
