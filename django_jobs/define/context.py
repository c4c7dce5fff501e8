"""``JobContext``: what a running job can do with itself, and the hooks of its life."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..conf import get_settings
from ..exceptions import MaxRetriesExceededError, Retry
from ..moments import aware, expiry, seconds
from ..serialization import dumps, loads
from .canvas import Canvas
from .current import Request
from .durable import Durable
from .encrypted_calls import encrypts_results
from .envelopes import stored_progress
from .row_options import NOTHING
from .twins import twin

if TYPE_CHECKING:
    from typing import Never

    from ..api.job import JobFunction
    from ..api.result import AsyncResult
    from ..ids import JobId
    from ..redaction import Secrets
    from ..run.kept_log import KeptLog
    from ..values import Claimed, Failure, Graph
    from .options import Expiry


@dataclasses.dataclass(frozen=True, slots=True)
class JobOutcome:
    """How an attempt ended, for middleware. The record may still drop it."""

    #: The job's next status: ``"SUCCESS"``, ``"FAILURE"``, ``"RETRY"``, ``"SCHEDULED"`` …
    status: str
    #: The value that the body returned.
    result: Any = dataclasses.field(default=None, repr=False)
    #: The exception that the body raised: an error, or ``Retry``, ``Snooze`` and the like.
    exception: BaseException | None = dataclasses.field(default=None, repr=False)
    #: Why the attempt failed, without secrets: ``error_class`` (a dotted name), ``message`` and
    #: ``traceback``.
    failure: Failure | None = dataclasses.field(default=None, repr=False)


class _Running:
    """A worker's data about the job that it runs. Most jobs have the class's own values."""

    # Its request, as soon as something has asked for it.
    made_request: Request | None = None
    # The lines that it logs, if its function has keep_log.
    kept_log: KeptLog | None = None
    # The lines that it has begun to print and not ended, by thread and stream.
    printed: dict[Any, Any] | None = None
    # The job's row, when it was claimed.
    claimed: Claimed | None = None
    # For a call of a batch: it returns the secrets of all jobs of the batch and of a result. What
    # the body raises may quote any of them.
    batch_secrets: Callable[[Any], Secrets] | None = None
    # With the worker's id the fencing token of this run.
    claims: int = 0
    row_options = NOTHING
    # The ended state and meta from update_state(), used when the body then raises Ignore.
    ended_state: tuple[str, Any] | None = None
    # The graphs from add_to_chord(), to be written with the job's success.
    added: tuple[Graph, ...] = ()

    def __init__(
        self,
        function: JobFunction[..., Any, Any],
        request: Request | Callable[[], Request],
        report: Callable[[JobContext, dict[str, Any]], None] | None = None,
    ) -> None:
        self.function = function
        self._report = report
        if isinstance(request, Request):
            self.made_request = request
        else:
            self._make_request = request

    @property
    def request(self) -> Request:
        """The job as it was enqueued, and the attempt at it."""
        # It is made when something asks for it: to make it takes as long as a short body.
        made = self.made_request
        if made is None:
            # Threads that ask at the same time get the same one.
            made = vars(self).setdefault("made_request", self._make_request())
        return made

    @request.setter
    def request(self, request: Request) -> None:
        self.made_request = request


class JobContext(_Running, Durable):
    """The running job: ``bind=True`` passes it as ``self``, and ``current_job`` stands for it.

    To add hooks, subclass it and pass the class as ``base=``: override the hooks below, or
    ``__call__`` to wrap the body. An error in a hook is logged and does not change the outcome.
    """

    #: The end of the attempt, for middleware after its ``yield``. Before that it is None.
    outcome: JobOutcome | None = None
    #: True after the running job was revoked with ``terminate=True``.
    revoked: bool = False

    @property
    def name(self) -> str:
        """Name of the job function."""
        return self.function.name

    @property
    def max_retries(self) -> int | None:
        """The call's limit of retries, otherwise the job function's; None is no limit."""
        own = self.row_options.call.max_retries
        return self.function.options.max_retries if own is None else own

    def __getattr__(self, name: str) -> Any:
        # self.delay, self.apply_async and the like, as on a Celery task.
        if name.startswith("_") or name == "function":
            raise AttributeError(name)
        return getattr(self.function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body. Override it to wrap each attempt, and call ``super().__call__()``."""
        return self._run_body(args, kwargs)

    def run(self, /, *args: Any, key: str = "run", **kwargs: Any) -> Any:
        """Run *sig*, a signature or a workflow, as jobs, and return its result.

        It is :meth:`gather` for one; *key* names the step. With other arguments than one canvas it
        calls the function as it was written; an ``async def`` function returns a coroutine.
        """
        if len(args) == 1 and not kwargs and isinstance(args[0], Canvas):
            from ..steps.children import gather

            (result,) = gather(self, args, key, "run")
            return result
        if key != "run":
            kwargs["key"] = key
        return self._run_body(args, kwargs)

    arun = twin(run)

    def _run_body(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
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
        either the job waits as long as *exc* asks for by ``retry_after``, or else
        ``default_retry_delay``. If the next attempt has not begun by *expires*, the job is revoked.

        Always raises: :class:`Retry`; when *max_retries* (default: :attr:`max_retries`) are used
        up, *exc*, or ``MaxRetriesExceededError`` without one; ``ValueError`` for an invalid time;
        ``TypeError`` for ``throw=False`` and for any other option of a call.
        """
        _refuse_options(throw, refused)
        self._refuse_exhausted(exc, self.max_retries if max_retries is None else max_retries)
        if countdown is not None:
            countdown = seconds(countdown, "countdown")
        # Naive datetimes become aware here, where the body's own current time zone holds.
        if eta is not None:
            eta = aware(eta, "eta")
        if isinstance(expires, datetime.datetime):
            expires = aware(expires, "expires")
        expiry(expires)
        retry = Retry(str(exc or ""), exc=exc, countdown=countdown, eta=eta, expires=expires)
        retry.is_counted = True
        raise retry

    def _refuse_exhausted(self, exc: BaseException | None, limit: int | None) -> None:
        if self.request.called_directly:
            raise exc or MaxRetriesExceededError(f"{self.name} was called directly, not as a job")
        if limit is not None and self.request.retries >= limit:
            raise exc or MaxRetriesExceededError(
                f"{self.name} was retried {limit} times, and max_retries allows no more."
            )

    def replace(self, sig: Canvas) -> NoReturn:
        """End here and continue as *sig*, a signature or a workflow, under this job's id.

        The job's dependents take the result of *sig* (a group's is a list), handles on the job
        stay valid, and the job's errbacks also serve *sig*. Always raises :class:`Replaced`.
        """
        from ..api.calls import replace_running  # a call notes what the running job enqueued

        self._refuse_direct("replace")
        replace_running(self, sig)

    def add_to_chord(self, sig: Canvas) -> AsyncResult[Any]:
        """Add *sig* to the header of the chord that this job is a member of; return its handle.

        The chord's body gets the result of *sig* last. The new jobs are written together with this
        job's success, so a retry adds nothing twice. Raises ``ValueError`` when the job is not a
        member of a chord's header.
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
        """Show *state* (any word) and *meta* (JSON) while the job runs.

        The worker writes them within 50 ms, outside the job's own transaction. An ended state
        (SUCCESS, FAILURE, REVOKED) becomes the job's status if the body then raises ``Ignore``.
        Raises ``ArgumentError`` when *meta* is not JSON or is too large, ``ValueError`` for the
        *task_id* of another job.
        """
        if task_id is not None and str(task_id) != str(self.request.id):
            raise ValueError("update_state() changes the running job only. Omit task_id.")
        if state in ("SUCCESS", "FAILURE", "REVOKED"):
            self.ended_state = (state, meta)
            return
        self._show({"state": state, "meta": meta})

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Show that *done* of *total* is done, with a *message* for people.

        The worker writes it within 50 ms, outside the job's own transaction.
        """
        self._show({"done": done, "total": total, "message": message})

    def _show(self, progress: dict[str, Any]) -> None:
        # Invalid values raise here, in the job, and not later in the worker, which gets a copy:
        # the body may change its objects before the worker writes them.
        text = dumps(progress, where="progress", max_bytes=get_settings().max_payload_bytes)
        if self._report is not None:
            self._report(self, stored_progress(loads(text), encrypt=encrypts_results(self)))

    # --- hooks, with Celery's names and arguments -----------------------------------------------

    def before_start(self, job_id: JobId, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Called before the body."""

    def on_success(
        self, retval: Any, job_id: JobId, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        """Called when the job has succeeded and its row says so."""

    def on_failure(
        self, exc: BaseException, job_id: JobId, args: list[Any], kwargs: dict[str, Any], einfo: str
    ) -> None:
        """Called when the job has failed for good and its row says so.

        *einfo* is the text of the traceback.
        """

    def on_retry(
        self, exc: BaseException, job_id: JobId, args: list[Any], kwargs: dict[str, Any], einfo: str
    ) -> None:
        """Called when the attempt has failed, and the row says that another one follows."""

    def after_return(
        self, status: str, retval: Any, job_id: JobId, args: list[Any], kwargs: dict[str, Any],
        einfo: str,
    ) -> None:  # fmt: skip
        """Called last, for a success, a failure or a retry that the row has."""


def _refuse_options(throw: bool, refused: Mapping[str, Any]) -> None:
    if refused:
        raise TypeError(
            f"retry() takes exc, countdown, eta, expires and max_retries, got "
            f"{', '.join(refused)}. To go on as another call, use self.replace(f.s(...).set(...))."
        )
    if not throw:
        raise TypeError("retry(throw=False) is not possible. Catch Retry if code must follow.")
