"""Makes validated rows of calls; nothing is written yet."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .. import serialization
from ..conf import get_settings
from ..db.alike import AlikeJobs
from ..define.call_options import CallKeywords, check
from ..define.canvas import STORED_LEVELS, stored_errbacks
from ..define.current import running
from ..define.encrypted_calls import stored_texts
from ..define.envelopes import MARK
from ..define.fairness import fair_queues
from ..define.fitting import check_errback
from ..define.headers import implied_headers
from ..define.hidden_arguments import CALLERS
from ..define.routing import are_routed_by_arguments, route
from ..define.row_options import CALL_OPTIONS, CallOptions, RowOptions, WorkflowOptions
from ..ids import uuid7, uuids7
from ..moments import aware, expiry
from ..status import Status
from ..values import NewJob
from .unique import key_of

if TYPE_CHECKING:
    from ..api.job import JobFunction

#: The positional and the keyword arguments of a call.
Pair = tuple[Sequence[Any], Mapping[str, Any]]
Headers = Mapping[str, Any]
#: Calls of one place share these: the headers' JSON text, the ids of the root and the parent.
Around = tuple[str | None, UUID | None, UUID | None]
_NOTHING_AROUND: Around = (None, None, None)
_NO_ROUTE: Mapping[str, Any] = {}


def rows_of(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> list[NewJob]:
    """Return a validated row for each of *calls*; it is not written yet."""
    refuse_one_id(calls, options)
    _bind_all(function, calls)
    make = _maker(function, options) if options else _plain_maker(function)
    around = _around(options)
    return [
        make(args, kwargs, around, job_id=job_id)
        for (args, kwargs), job_id in zip(calls, uuids7(len(calls)), strict=True)
    ]


def alike_of(
    function: JobFunction[..., Any, Any], calls: Sequence[Pair], options: CallKeywords
) -> AlikeJobs | None:
    """Return what :func:`rows_of` does, or None if the jobs may differ in more than arguments."""
    if len(calls) < 2 or function.options.unique or are_routed_by_arguments():
        return None
    refuse_one_id(calls, options)
    _bind_all(function, calls)
    make = _maker(function, options) if options else _plain_maker(function)
    first = make(*calls[0], _around(options))
    if first.queue in fair_queues():
        return None
    types, texts_of = function.argument_types, _texts_maker(function)
    all_args, all_kwargs = [], []
    for args, kwargs in calls:
        if types is not None:
            args, kwargs = types.encode(args, kwargs, 0)
        args_text, kwargs_text = texts_of(args, kwargs, 0)
        all_args.append(args_text)
        all_kwargs.append(kwargs_text)
    return AlikeJobs(first, list(uuids7(len(calls))), all_args, all_kwargs)


def row_of(
    function: JobFunction[..., Any, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: CallKeywords,
) -> NewJob:
    """Return the validated row of one call; it is not written yet."""
    function.bind(args, kwargs)
    settings, make = function.plain_maker
    if options or make is None or settings is not get_settings():
        make = _maker(function, options) if options else _plain_maker(function)
    return make(args, kwargs, _around(options))


def _bind_all(function: JobFunction[..., Any, Any], calls: Sequence[Pair]) -> None:
    if function.options.typing:
        for args, kwargs in calls:
            function.bind(args, kwargs)


def refuse_one_id(calls: Sequence[Pair], options: CallKeywords) -> None:
    """Raise ``ValueError`` for an id that several calls would have."""
    if options.get("task_id") is not None and len(calls) != 1:
        raise ValueError("task_id names one job. Leave it out of delay_many().")


def template(
    function: JobFunction[..., Any, Any], options: CallKeywords, implied: Headers | None = None
) -> Callable[..., NewJob]:
    """Resolve the options once; return a function that makes the row of one call.

    The call's own headers override the *implied* ones. *taken* results come before its arguments.
    """
    make = _maker(function, options) if options else _plain_maker(function)
    around = _around(options, implied)

    def row(args: Sequence[Any], kwargs: Mapping[str, Any], taken: int = 0) -> NewJob:
        return make(args, kwargs, around, taken=taken)

    return row


def _plain_maker(function: JobFunction[..., Any, Any]) -> Callable[..., NewJob]:
    """Return :func:`_maker` for a call without options, which is kept while the settings last."""
    settings, (known, kept) = get_settings(), function.plain_maker
    if kept is not None and known is settings:
        return kept
    make = _maker(function, {})
    # A naive moment depends on the time zone of the caller.
    if not isinstance(function.options.expires, datetime.datetime):
        function.plain_maker = settings, make
    return make


def _maker(function: JobFunction[..., Any, Any], options: CallKeywords) -> Callable[..., NewJob]:
    """Return a function that makes rows, from all that is the same for the calls."""
    defaults, settings, types = function.options, get_settings(), function.argument_types
    check(options)
    status, eta, countdown = _when(options)
    expires_at, expires_in = expiry(options.get("expires", defaults.expires))
    options_text = _options_text(options)
    given_id = UUID(str(options["task_id"])) if options.get("task_id") else None
    queue, priority = options.get("queue"), options.get("priority")
    is_routed = settings.routes and (queue is None or priority is None)
    texts_of = _texts_maker(function)

    def row(
        args: Sequence[Any], kwargs: Mapping[str, Any], around: Around, *,
        taken: int = 0, job_id: UUID | None = None,
    ) -> NewJob:  # fmt: skip
        if types is not None:
            args, kwargs = types.encode(args, kwargs, taken)
        args_text, kwargs_text = texts_of(args, kwargs, taken)
        if types is not None and (settings.routes or defaults.unique):
            args, kwargs = types.seen(args, kwargs, taken)
        routed = _routed(function.name, args, kwargs) if is_routed else _NO_ROUTE
        return NewJob(
            given_id or job_id or uuid7(),
            function.name,
            queue or routed.get("queue") or defaults.queue or settings.default_queue,
            -(routed.get("priority", defaults.priority) if priority is None else priority),
            status,
            args_text,
            kwargs_text,
            around[0],
            options_text,
            eta,
            countdown,
            expires_at,
            expires_in,
            around[1],
            around[2],
            key_of(function, args, kwargs) if defaults.unique else None,
        )

    return _keyed(function, row) if fair_queues() else row


def _texts_maker(function: JobFunction[..., Any, Any]) -> Callable[..., tuple[str, str]]:
    """Return a function that makes the texts of JSON arguments; *taken* results come before."""
    limit = get_settings().max_payload_bytes
    encrypts = bool(function.options.encrypt) or function.name in CALLERS

    def texts(args: Sequence[Any], kwargs: Mapping[str, Any], taken: int) -> tuple[str, str]:
        args_text, kwargs_text = serialization.dumps_arguments(args, kwargs, max_bytes=limit)
        if encrypts or MARK in args_text or MARK in kwargs_text:
            return stored_texts(function, args_text, kwargs_text, taken)
        return args_text, kwargs_text

    return texts


def _keyed(
    function: JobFunction[..., Any, Any], make: Callable[..., NewJob]
) -> Callable[..., NewJob]:
    """Return a function that makes rows as *make* does, with the keys of fair queues."""

    def row(
        args: Sequence[Any], kwargs: Mapping[str, Any], around: Around, *,
        taken: int = 0, job_id: UUID | None = None,
    ) -> NewJob:  # fmt: skip
        made = make(args, kwargs, around, taken=taken, job_id=job_id)
        fairness, types = fair_queues().get(made.queue), function.argument_types
        if fairness is None:
            return made
        if types is not None:
            args, kwargs = types.encode(args, kwargs, taken)
        headers = serialization.loads(made.headers) if made.headers else {}
        return made._replace(fair_key=fairness.key_of(function, args, kwargs, headers, taken))

    return row


def _routed(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    routed = route(name, args, kwargs)
    if routed:
        check(routed)
    return routed


def _when(options: CallKeywords) -> tuple[str, datetime.datetime | None, float | None]:
    """Return the row's status, and the call's eta or countdown if the job must not run at once."""
    eta, countdown = options.get("eta"), options.get("countdown")
    if eta is not None and countdown is not None:
        raise ValueError("Give countdown or eta, not both.")
    if eta is not None:
        return Status.SCHEDULED.value, aware(eta, "eta"), None
    if countdown is not None and countdown > 0:
        return Status.SCHEDULED.value, None, countdown
    return Status.PENDING.value, None, None


def _around(options: CallKeywords, implied: Headers | None = None) -> Around:
    if not options and not implied and not get_settings().headers and running.get() is None:
        return _NOTHING_AROUND
    return _headers_text(options, implied), *lineage()


def _headers_text(options: CallKeywords, implied: Headers | None) -> str | None:
    """Return the headers as a JSON text, or None for none."""
    headers = implied_headers() if implied is None else implied
    own = options.get("headers")
    if not headers and not own:
        return None
    headers = {**headers, **(own or {})}
    limit = get_settings().max_payload_bytes
    return serialization.dumps(headers, where="headers", max_bytes=limit)


def _options_text(options: CallKeywords) -> str | None:
    """Return the call's own options as a JSON text, or None for none."""
    if not options:
        return None
    own: dict[str, Any] = {name: options.get(name) for name in CALL_OPTIONS}
    errbacks = stored_errbacks(options)
    for errback in errbacks:
        check_errback(errback)
    # None: an errback is for the failure of this job.
    pairs = tuple((errback, None) for errback in errbacks)
    stored = RowOptions(CallOptions(**own), WorkflowOptions(errbacks=pairs)).stored()
    if not stored:
        return None
    limit = get_settings().max_payload_bytes
    return serialization.dumps(stored, where="options", max_bytes=limit, around=STORED_LEVELS)


def lineage() -> tuple[UUID | None, UUID | None]:
    """Return the ids of the running job's root and of the running job: the new job's parents."""
    parent = running.get()
    if parent is None:
        return None, None
    return parent.request.root_uuid or parent.request.uuid, parent.request.uuid
