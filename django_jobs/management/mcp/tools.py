"""The tools: each turns its arguments into a command line of ``manage.py jobs``.

An agent reads the docstrings and the annotations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from ...status import ENDED, Status

CommandLine = list[str]
MOST_JOBS = 100

Id = Annotated[str, Field(description="Id of a job, a UUID. list_jobs has ids.")]
Ids = Annotated[
    list[Id] | None,
    Field(description="Ids of jobs, at most 500. Give ids or filters, not both.", max_length=500),
]
Name = Annotated[
    str | None,
    Field(description="Full name of a job function, such as shop.jobs.send_mail, to filter by."),
]
Queue = Annotated[str | None, Field(description="Name of a queue, to filter by.")]
Queues = Annotated[list[str], Field(description="Names of queues.", min_length=1, max_length=50)]
Limit = Annotated[int, Field(description="At most so many jobs.", ge=1, le=MOST_JOBS)]
StatusName = Annotated[
    str | None,
    Field(description="Status to filter by.", json_schema_extra={"enum": [*Status.values, None]}),
]
EndedStatus = Annotated[
    str | None,
    Field(
        description="Status to filter by. With other filters it is FAILURE by default.",
        json_schema_extra={"enum": [*sorted(map(str, ENDED)), None]},
    ),
]


# --- that read ------------------------------------------------------------------------------------


def list_jobs(
    status: StatusName = None, name: Name = None, queue: Queue = None, limit: Limit = 20
) -> CommandLine:
    """List the newest jobs that match: id, status, function, queue, attempt, times, arguments,
    class of error, and in "waiting" why a job does not run. WAITING: for other jobs or a limit.
    SCHEDULED and RETRY: until run_at. PENDING: ready, for a worker. STARTED: a worker runs it.
    SUCCESS, FAILURE and REVOKED: ended."""
    return ["list", *_options(status=status, name=name, queue=queue, limit=limit)]


def show_job(
    job_id: Id,
    log: Annotated[bool, Field(description="Also the log lines that keep_log kept.")] = False,
) -> CommandLine:
    """Show one job: why it waits ("waiting": a limit and who holds it, a paused queue, no worker,
    other jobs, an event), arguments, result, progress, error, steps, and each failed attempt with
    its traceback, the newest first."""
    return ["show", *_flags(log=log), "--", job_id]


def show_workflow(job_id: Id) -> CommandLine:
    """Show the workflow (chain, group or chord) that a job belongs to: its jobs with their
    statuses and with the jobs that each of them waits for."""
    return ["workflow", "--", job_id]


def list_failures() -> CommandLine:
    """List what failed in the last seven days by root cause, the most frequent of a day first: job
    function, class of error, numbers of the last hour, day and week, the id of the latest job
    ("sample"), and how many jobs of workflows did not run because of it ("consequences")."""
    return ["failures"]


def list_running_jobs(limit: Limit = 50) -> CommandLine:
    """List the jobs that run now, with their workers."""
    return ["inspect", "active", *_options(limit=limit)]


def list_scheduled_jobs(limit: Limit = 50) -> CommandLine:
    """List the jobs whose run_at lies in the future, the next one first: delayed jobs, retries, and
    jobs that a rate limit holds back."""
    return ["inspect", "scheduled", *_options(limit=limit)]


def count_jobs() -> CommandLine:
    """Count the jobs by status and by queue, and list the live workers. Counts stop at 10,000, with
    "capped": true. "lacks_beat": true means that schedules do not fire."""
    return ["stats"]


def list_queues() -> CommandLine:
    """List the queues: ready and running jobs, when the oldest ready job became ready, since when
    and by whom a queue is paused, and the workers that serve it."""
    return ["inspect", "queues"]


def list_workers() -> CommandLine:
    """List the live workers: queues, slots, busy slots, ended jobs, memory and heartbeat."""
    return ["inspect", "stats"]


def list_job_functions() -> CommandLine:
    """List the job functions of each live worker and of this server's code ("here"), with the
    options that each one sets, and the limits that an operator has set."""
    return ["inspect", "registered"]


def list_schedules() -> CommandLine:
    """List the schedules: when they fire, their next and last runs, and their last errors."""
    return ["schedules"]


def check_health(queue: Queue = None) -> CommandLine:
    """Tell whether jobs are run: database, migrations, workers, beat and waits. "ok" is false, and
    "error" names the part, if not."""
    return ["health", *_options(queue=queue)]


# --- that write -----------------------------------------------------------------------------------


def run_job(
    name: Annotated[str, Field(description="Full name of a job function. See list_job_functions.")],
    args: Annotated[list[Any], Field(description="Positional arguments.")] = [],  # noqa: B006
    kwargs: Annotated[dict[str, Any], Field(description="Keyword arguments.")] = {},  # noqa: B006
    queue: Annotated[str | None, Field(description="Queue instead of the function's own.")] = None,
    wait: Annotated[
        float | None,
        Field(description="Wait so many seconds for the end and return the result.", gt=0, le=60),
    ] = None,
) -> CommandLine:
    """Enqueue one call of a job function. A worker runs it. The answer has the job's id; if *wait*
    is too short, the error says so and the job still runs."""
    values = {"args": json.dumps(args), "kwargs": json.dumps(kwargs), "queue": queue}
    waiting = [] if wait is None else ["--wait", f"--timeout={wait}"]
    return ["run", *_options(**values), *waiting, "--", name]


def retry_jobs(
    ids: Ids = None, status: EndedStatus = None, name: Name = None, queue: Queue = None
) -> CommandLine:
    """Run ended jobs again, by their ids, or all that match the filters. A job with steps goes on
    from the step that failed. The answer counts the jobs, and those skipped by reason."""
    return ["retry", *_options(status=status, name=name, queue=queue), "--", *(ids or [])]


def revoke_jobs(
    ids: Ids = None,
    name: Name = None,
    queue: Queue = None,
    terminate: Annotated[bool, Field(description="Also stop jobs that run.")] = False,
) -> CommandLine:
    """Revoke jobs so that they never run, by their ids, or all that match the filters. Jobs that
    depend on them are revoked, too."""
    return ["revoke", *_options(name=name, queue=queue), *_flags(terminate=terminate),
            "--", *(ids or [])]  # fmt: skip


def pause_queues(queues: Queues) -> CommandLine:
    """Stop all workers from taking jobs of these queues. Running jobs go on. The answer names the
    queues that were not paused before."""
    return ["pause", "--", *queues]


def resume_queues(queues: Queues) -> CommandLine:
    """Let workers take the jobs of paused queues again. The answer names the queues that were
    paused."""
    return ["resume", "--", *queues]


def set_limit(
    name: Annotated[str, Field(description="Name of a job function or of a queue.")],
    rate: Annotated[
        str | None,
        Field(description='"10/m", or several: "10/s, 1000/h". "none" restores the code\'s.'),
    ] = None,
    concurrency: Annotated[
        int | Literal["none"] | None,
        Field(description='Most jobs that run at once. "none" restores the code\'s.'),
    ] = None,
    key: Annotated[
        str | None, Field(description="Only for the jobs with this key of the limit, JSON or text.")
    ] = None,
) -> CommandLine:
    """Set the rate limit or the concurrency of a job function or a queue, in place of the code's,
    at once and for all workers. What is left out stays as it is."""
    return ["limit", *_options(rate=rate, concurrency=concurrency, key=key), "--", name]


def _options(**values: object) -> CommandLine:
    # As one word, a value that begins with a dash is no option.
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def _flags(**values: bool) -> CommandLine:
    return [f"--{name}" for name, value in values.items() if value]


Tool = Callable[..., CommandLine]
READ: tuple[Tool, ...] = (
    list_jobs, show_job, show_workflow, list_failures, list_running_jobs, list_scheduled_jobs,
    count_jobs, list_queues, list_workers, list_job_functions, list_schedules, check_health,
)  # fmt: skip
WRITE: tuple[Tool, ...] = (
    run_job, retry_jobs, revoke_jobs, pause_queues, resume_queues, set_limit,
)  # fmt: skip
#: They end jobs, or stop their flow.
DESTRUCTIVE: frozenset[Tool] = frozenset({revoke_jobs, pause_queues, set_limit})
