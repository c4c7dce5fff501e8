"""The job that runs now, as its own code sees it."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from ..conf import get_settings
from ..exceptions import MaxRetriesExceededError, Retry
from ..ids import JobId, job_id
from ..moments import aware, expiry, seconds
from ..serialization import dumps, loads

if TYPE_CHECKING:
    from typing import Never

    from ..api.job import JobFunction
    from ..api.result import AsyncResult
    from ..values import Graph
    from .canvas import Canvas
    from .options import Expiry


@dataclasses.dataclass(slots=True)
class Request:
    """One attempt at a job. ``retries`` counts from 0, ``attempt`` is ``retries + 1``.

    Its repr leaves the payload out: trackers of errors send the reprs of what stands in frames.

    ``id``, ``root_id``, ``parent_id`` and ``group_id`` are texts (:class:`~django_jobs.ids.JobId`).
    """

    uuid: UUID | None = None
    name: str = ""
    args: list[Any] = dataclasses.field(default_factory=list, repr=False)
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    retries: int = 0
    queue: str = ""
    priority: int = 0
    eta: datetime.datetime | None = None
    expires: datetime.datetime | None = None
    headers: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    root_uuid: UUID | None = None
    parent_uuid: UUID | None = None
    group_uuid: UUID | None = None
    #: Name of the worker that runs it.
    worker: str = ""
    called_directly: bool = True
    is_eager: bool = False
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool = False
    #: The handles on what it has enqueued so far.
    children: list[Any] = dataclasses.field(default_factory=list)

    @property
    def attempt(self) -> int:
        return self.retries + 1

    @property
    def id(self) -> JobId | None:
        return job_id(self.uuid)

    @property
    def root_id(self) -> JobId | None:
        return job_id(self.root_uuid)

    @property
    def parent_id(self) -> JobId | None:
        return job_id(self.parent_uuid)

    @property
    def group_id(self) -> JobId | None:
        return job_id(self.group_uuid)


class JobContext:
    """What ``bind=True`` passes as ``self``, and what ``current_job`` stands for.

    Subclass it and pass the class as ``base=``: override the hooks below to hear of the job's life,
    and ``__call__`` to wrap its body. An error in a hook is logged and changes nothing for the job.
    """

    def __init__(
        self,
        function: JobFunction[..., Any, Any],
        request: Request,
        report: Callable[[JobContext, dict[str, Any]], None] | None = None,
    ) -> None:
        self.function = function
        self.request = request
        # With the worker's id the fencing token: it tells whether this run still counts.
        self.claims = 0
        #: True once somebody revoked the job with ``terminate=True`` while it ran.
        self.revoked = False
        self._report = report
        # What update_state gave as an ended state, for a body that then raises Ignore.
        self.ended_state: tuple[str, Any] | None = None
        # What the row has as options, and what add_to_chord() was given.
        self.row_options: Mapping[str, Any] = {}
        self.added: list[Graph] = []

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def max_retries(self) -> int | None:
        return self.function.options.max_retries

    def __getattr__(self, name: str) -> Any:
        # self.delay, self.apply_async and the like, as on a Celery task.
        if name.startswith("_") or name == "function":
            raise AttributeError(name)
        return getattr(self.function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body. Override it to wrap each attempt; ``super().__call__()`` goes on."""
        return self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as it was written; for ``async def`` the answer is a coroutine."""
        if self.function.options.bind:
            return self.function.__wrapped__(self, *args, **kwargs)
        return self.function.__wrapped__(*args, **kwargs)

    # --- steering -------------------------------------------------------------------------------

    def retry(
        self,
        *,
        exc: BaseException | None = None,
        countdown: float | datetime.timedelta | None = None,
        eta: datetime.datetime | None = None,
        expires: Expiry | None = None,
        max_retries: int | None = None,
        throw: bool = True,
        **refused: Never,
    ) -> NoReturn:
        """End this attempt and run the job again after *countdown* or at *eta*.

        *countdown* is in seconds or a timedelta; a naive *eta* is in the current time zone. Without
        either it waits ``default_retry_delay``. A job that has not begun again by *expires* is
        revoked.
        Raises :class:`Retry`; when *max_retries* (default: the job function's) are used up, *exc*
        itself, or ``MaxRetriesExceededError`` without one; ``ValueError`` for a time that is none.
        ``throw=False`` is refused: no code after the call belongs to the attempt. Other options of
        a call are refused, too: a retry is the same call again.
        """
        if refused:
            raise TypeError(
                f"retry() takes exc, countdown, eta, expires and max_retries, got "
                f"{', '.join(refused)}. To go on as another call, use "
                "self.replace(f.s(...).set(...))."
            )
        if not throw:
            raise TypeError("retry(throw=False) is not possible. Catch Retry if code must follow.")
        limit = self.max_retries if max_retries is None else max_retries
        if self.request.called_directly:
            raise exc or MaxRetriesExceededError(f"{self.name} was called directly, not as a job")
        if limit is not None and self.request.retries >= limit:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(
                f"{self.name} was retried {limit} times, and max_retries allows no more."
            )
        if countdown is None and eta is None:
            countdown = self.function.options.default_retry_delay
        if countdown is not None:
            countdown = seconds(countdown, "countdown")
        if eta is not None:
            # Here, where the body's own current time zone holds.
            eta = aware(eta, "eta")
        if isinstance(expires, datetime.datetime):
            expires = aware(expires, "expires")
        expiry(expires)
        retry = Retry(str(exc or ""), exc=exc, countdown=countdown, eta=eta, expires=expires)
        retry.is_counted = True
        raise retry

    def replace(self, sig: Canvas) -> NoReturn:
        """End here and go on as *sig*, a signature or a workflow, under this job's id.

        What depends on the job takes what *sig* results in (of a group the list), and the handle on
        the job stays the handle on it. Errbacks of the job are those of *sig*, too. Raises
        :class:`Replaced`.
        """
        from ..api.calls import replace_running  # a call notes what the running job enqueued

        self._refuse_direct("replace")
        replace_running(self, sig)

    def add_to_chord(self, sig: Canvas) -> AsyncResult[Any]:
        """Add *sig* to the group that this job is a member of, in whose chord's body its result
        comes last; return the handle on it.

        It is written together with this job's success, so that a retry adds nothing twice. Raises
        ``ValueError`` when the job is no member of a chord's header.
        """
        from ..api.calls import add_to_chord_of

        self._refuse_direct("add_to_chord")
        return add_to_chord_of(self, sig)

    def _refuse_direct(self, method: str) -> None:
        if self.request.called_directly:
            raise RuntimeError(
                f"{method}() needs a running job, and {self.name} was called directly. Enqueue it, "
                "or run it here and now with apply()."
            )

    def update_state(
        self, *, state: str | None = None, meta: Any = None, task_id: object = None
    ) -> None:
        """Show *state* (any word) and *meta* (JSON) to whoever looks at the running job.

        They are written by the worker within 50 ms, outside the job's own transaction. An ended
        state (SUCCESS, FAILURE, REVOKED) becomes the job's if its body then raises ``Ignore``.
        """
        if task_id is not None and str(task_id) != str(self.request.id):
            raise ValueError("update_state() changes the running job only. Omit task_id.")
        if state in ("SUCCESS", "FAILURE", "REVOKED"):
            self.ended_state = (state, meta)
            return
        self._show({"state": state, "meta": meta})

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Show that *done* of *total* is done, with a *message* for people."""
        self._show({"done": done, "total": total, "message": message})

    def _show(self, progress: dict[str, Any]) -> None:
        # Refused here, in the job, rather than by the worker that writes it later. The worker gets
        # a copy: the body may change its own meanwhile.
        text = dumps(progress, where="progress", max_bytes=get_settings().max_payload_bytes)
        if self._report is not None:
            self._report(self, loads(text))

    # --- hooks, with Celery's names and arguments -----------------------------------------------

    def before_start(self, job_id: JobId, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Called before the body."""

    def on_success(
        self, retval: Any, job_id: JobId, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        """Called after the body has returned."""

    def on_failure(
        self,
        exc: BaseException,
        job_id: JobId,
        args: list[Any],
        kwargs: dict[str, Any],
        einfo: str,
    ) -> None:
        """Called when the job has failed for good; *einfo* is the traceback's text."""

    def on_retry(
        self,
        exc: BaseException,
        job_id: JobId,
        args: list[Any],
        kwargs: dict[str, Any],
        einfo: str,
    ) -> None:
        """Called when the attempt has failed and another one follows."""

    def after_return(
        self,
        status: str,
        retval: Any,
        job_id: JobId,
        args: list[Any],
        kwargs: dict[str, Any],
        einfo: str,
    ) -> None:
        """Called last, however the attempt ended."""


running: contextvars.ContextVar[JobContext | None] = contextvars.ContextVar(
    "django_jobs_running", default=None
)


class CurrentJob:
    """Stands for the job that runs in this thread or coroutine; false when there is none."""

    def __bool__(self) -> bool:
        return running.get() is not None

    def __getattr__(self, name: str) -> Any:
        context = running.get()
        if context is None:
            raise RuntimeError(
                f"current_job.{name} needs a running job, and none runs here. Ask `if "
                "current_job:` first."
            )
        return getattr(context, name)

    def __repr__(self) -> str:
        context = running.get()
        return f"<current_job: {context.name if context else None}>"


current_job = CurrentJob()


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Show the running job's progress; outside of a job it does nothing."""
    context = running.get()
    if context is not None:
        context.progress(done, total, message)
