"""Canvases: signatures, chains, groups and chords.

A canvas is a dict of JSON, so that it can be an argument or a result of a job. :func:`signature`
turns the dict into a canvas again.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..serialization import MAX_DEPTH, arguments_problems, type_of
from . import registry
from .encrypted_calls import stored_call
from .envelopes import opened, opened_call
from .hidden_arguments import rules_of
from .sensitive import redact, shown_arguments
from .twins import twin

if TYPE_CHECKING:
    from typing import Self

    from ..api.group_result import GroupResult
    from ..api.job import JobFunction
    from ..api.result import AsyncResult

    #: The handle on the result of a canvas.
    Handle: TypeAlias = AsyncResult[Any] | GroupResult

C = TypeVar("C", bound="Canvas")

#: Methods of Celery's signatures, and what to use instead.
INSTEAD = {
    "stamp": "set(headers={...})",
    "freeze": "apply_async(task_id=...)",
    "replace": "clone() and set()",
    "skew": "set(countdown=...) for each member",
}

#: The deepest nesting of canvases: their results are JSON that nests as deep.
MOST_NESTED = MAX_DEPTH
#: The levels of JSON of such a canvas within the options of a row.
STORED_LEVELS = 4 * (MOST_NESTED + 2)

#: Options that are signatures to run afterwards.
CALLBACKS = ("link", "link_error", "on_complete")


def refuse_deep(canvas: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for a canvas, or its JSON form, that nests too deep."""
    level: list[Any] = [canvas]
    for _ in range(MOST_NESTED + 1):
        # A canvas that occurs several times on a level is visited once.
        inner = {id(part): part for each in level for part in _parts_of(each)}
        if not inner:
            return
        level = list(inner.values())
    raise ValueError(
        f"A workflow nests at most {MOST_NESTED} deep: groups, chords, chains and callbacks within "
        "each other. Let a job continue with the rest by self.replace()."
    )


def _parts_of(canvas: Any) -> Iterator[Any]:
    """Yield the direct parts of *canvas*. The header of a chord does not count as a level."""
    if not isinstance(canvas, Mapping):
        return
    header = canvas.get("chord")
    if isinstance(header, Mapping):
        yield from _parts_of(header)
    options = canvas.get("options")
    several = [canvas.get("chain"), canvas.get("group"), header, [canvas.get("body")]]
    several += [options.get(key) for key in CALLBACKS] if isinstance(options, Mapping) else []
    for some in several:
        if isinstance(some, (list, tuple)):
            yield from (each for each in some if isinstance(each, Mapping))


def stored_errbacks(options: Mapping[str, Any]) -> list[Canvas]:
    """Return the errbacks in *options*, with their calls' arguments as JSON by the annotations."""
    errbacks = [errback._part() for errback in callbacks(options, "link_error")]
    left: list[Any] = list(errbacks)
    while left:
        each = left.pop()
        left += _parts_of(each)
        function = registry.find(each.task) if isinstance(each, Signature) else None
        if function is not None:
            # One argument comes first: the failed job's dict, or the result of the errback before.
            taken = 0 if each.immutable else 1
            if (types := function.argument_types) is not None:
                each["args"], each["kwargs"] = types.encode(each.args, each.kwargs, taken)
            each["args"], each["kwargs"] = stored_call(
                function, each.args, each.kwargs, is_partial=bool(taken)
            )
    return errbacks


def opened_errback(form: Any, by: Callable[[Any], Any] = opened) -> Canvas:
    """Return the errback that a row has as *form*, each argument opened *by* a function.

    Raises ``EncryptionError``.
    """
    errback = signature(form)
    left: list[Any] = [errback]
    while left:
        each = left.pop()
        left += _parts_of(each)
        if isinstance(each, Signature):
            each["args"], each["kwargs"] = opened_call(each.args, each.kwargs, by)
    return errback


class Canvas(dict[str, Any], metaclass=abc.ABCMeta):
    """Base class of :class:`Signature`, :class:`Chain`, :class:`Group` and :class:`Chord`."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the call, as for ``apply_async``; a workflow's are for all its jobs."""
        options: dict[str, Any] = self["options"]
        return options

    def clone(self) -> Self:
        """Return a deep copy."""
        return copy.deepcopy(self)

    def _part(self) -> Self:
        """Return a copy to be a part of another canvas; only the arguments' values are shared."""
        part = type(self).__new__(type(self))
        for key, value in self.items():
            if isinstance(value, Canvas):
                part[key] = value._part()
            elif key == "options":
                part[key] = {
                    name: [each._part() for each in option] if name in CALLBACKS else option
                    for name, option in _options(value).items()
                }
            elif key in ("chain", "group"):
                part[key] = [each._part() for each in value]
            else:
                part[key] = copy.copy(value)
        return part

    def set(self, *, immutable: bool | None = None, **options: Any) -> Self:
        """Set options of the call, as for ``apply_async``, in place; return this canvas."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(_options(options))
        return self

    @abc.abstractmethod
    def set_immutable(self, immutable: bool) -> None:
        """Set whether the first jobs ignore the results of earlier jobs."""

    def link(self, callback: C) -> C:
        """Run *callback* with the result after a success; return the callback."""
        return self._call_back("link", callback)

    def link_error(self, errback: C) -> C:
        """Run *errback* after a failure; return the errback. See :meth:`on_error`."""
        return self._call_back("link_error", errback)

    def on_error(self, errback: Canvas) -> Self:
        """Run *errback* after a failure; return this canvas.

        Unless the errback is immutable, its first argument is a dict with ``id``, ``name``,
        ``error_class``, ``message`` and ``traceback`` of the failed job, all texts.
        """
        self.link_error(errback)
        return self

    def _call_back(self, kind: str, callback: C) -> C:
        # The callback itself is kept, so that callbacks linked to it later count here, too.
        (given,) = callbacks({kind: [callback]}, kind)
        known = self.options.setdefault(kind, [])
        if given not in known:
            known.append(given)
        return callback if isinstance(callback, Canvas) else given

    # --- the algebra ----------------------------------------------------------------------------

    def __or__(self, other: Any) -> Canvas:  # type: ignore[override]
        """Return a chain of this and *other*, which takes the result of this."""
        return Chain([*_links(self), *_links(_canvas(other))])

    def __ror__(self, other: Any) -> Canvas:  # type: ignore[override]
        return _canvas(other) | self

    def __invert__(self) -> Any:
        """Enqueue the canvas, wait for its end and return the result."""
        return self.apply_async().get()

    # --- enqueuing ------------------------------------------------------------------------------

    def apply_async(
        self, /, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Handle:
        """Enqueue all jobs in one transaction; return the handle on the result.

        *args* come before the first jobs' own arguments, and *kwargs* override theirs. The
        *options* are those of :class:`~django_jobs.define.call_options.CallKeywords`:
        ``countdown`` and ``eta`` are for the first jobs, ``task_id`` is for the last, and the
        others are for every job without that option. Raises what ``f.apply_async()`` raises, and
        ``ImproperlyConfigured`` when the jobs' queues are on several databases.
        """
        from ..api.calls import enqueue_canvas  # calls are made of canvases

        return enqueue_canvas(self, args, kwargs or {}, options)

    def delay(self, *args: Any, **kwargs: Any) -> Handle:
        """Enqueue all jobs; the arguments come before the first jobs' own."""
        return self.apply_async(args, kwargs)

    def apply(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Handle:
        """Run all jobs in this process, without rows."""
        from ..api.calls import run_canvas

        return run_canvas(self, args, kwargs or {}, options)

    aapply_async = twin(apply_async)
    adelay = twin(delay)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply_async(args, kwargs)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            instead = f" Use {INSTEAD[name]}." if name in INSTEAD else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{instead}")

    def _repr(self, code: str) -> str:
        shown = {key: value for key, value in self.options.items() if key not in CALLBACKS}
        if shown:
            shown = redact(shown)
            code += f".set({', '.join(f'{key}={value!r}' for key, value in shown.items())})"
        for name in ("link_error", "on_complete"):
            method = "on_error" if name == "link_error" else name
            code += "".join(f".{method}({callback!r})" for callback in self.options.get(name, ()))
        return code


class Signature(Canvas):
    """One call of a job function, for a workflow: ``f.s(2)``."""

    def __init__(
        self,
        task: str,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
    ) -> None:
        for problem in arguments_problems(args, kwargs):
            raise TypeError(f"A signature of {task}: {problem}")
        super().__init__(
            task=task,
            args=[] if args is None else list(args),
            kwargs=dict(kwargs or {}),
            options=_options(options),
            immutable=immutable,
        )

    @property
    def task(self) -> str:
        """Name of the job function."""
        name: str = self["task"]
        return name

    name = task

    @property
    def args(self) -> list[Any]:
        """The positional arguments."""
        args: list[Any] = self["args"]
        return args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        kwargs: dict[str, Any] = self["kwargs"]
        return kwargs

    @property
    def immutable(self) -> bool:
        """Whether it ignores the results of earlier jobs."""
        return bool(self["immutable"])

    @property
    def type(self) -> JobFunction[..., Any, Any]:
        """The job function. Raises ``UnknownJob``."""
        return registry.get(self.task)

    def set_immutable(self, immutable: bool) -> None:
        self["immutable"] = immutable

    def merged(
        self, args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return its arguments after *args*, and its keyword arguments updated by *kwargs*."""
        if self.immutable:
            return list(self.args), dict(self.kwargs)
        return [*args, *self.args], {**self.kwargs, **kwargs}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the job function directly, as a function."""
        args_, kwargs_ = self.merged(args, kwargs)
        return self.type(*args_, **kwargs_)

    def __repr__(self) -> str:
        # Results of other jobs and further arguments may come before these.
        rules = dataclasses.replace(rules_of(self.task), is_partial=not self.immutable)
        shown = shown_arguments(rules, self.args, self.kwargs)
        args, kwargs = shown.args, shown.kwargs
        parts = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        short = self.task.rpartition(".")[2]
        return self._repr(f"{short}.{'si' if self.immutable else 's'}({', '.join(parts)})")


class Chain(Canvas):
    """Jobs one after the other, each with the result of the one before."""

    def __init__(
        self, tasks: Canvas | Iterable[Canvas], options: Mapping[str, Any] | None = None
    ) -> None:
        links = _parts(tasks)
        if not links:
            raise ValueError("A chain needs at least one signature, got none.")
        super().__init__(chain=links, options=_options(options))

    @property
    def tasks(self) -> list[Canvas]:
        """The links, in order."""
        links: list[Canvas] = self["chain"]
        return links

    def set_immutable(self, immutable: bool) -> None:
        self.tasks[0].set_immutable(immutable)

    def __repr__(self) -> str:
        code = " | ".join(map(repr, self.tasks))
        own = self._repr("")
        return f"({code}){own}" if own else code


class Group(Canvas):
    """Jobs at the same time. The result is the list of their results, in this order."""

    def __init__(
        self, tasks: Canvas | Iterable[Canvas] = (), options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(group=_parts(tasks), options=_options(options))

    @property
    def tasks(self) -> list[Canvas]:
        """The members, in order."""
        members: list[Canvas] = self["group"]
        return members

    def set_immutable(self, immutable: bool) -> None:
        for member in self.tasks:
            member.set_immutable(immutable)

    def on_success(self, callback: Canvas) -> Self:
        """Run *callback* with the list of results when every member succeeded."""
        self.link(callback)
        return self

    def on_complete(self, callback: Canvas) -> Self:
        """Run *callback* when every member has ended, with any outcome.

        Unless the callback is immutable, its first argument is a dict with ``id`` (the group's),
        ``total``, ``succeeded``, ``failed`` and ``revoked``, which are numbers.
        """
        self._call_back("on_complete", callback)
        return self

    def __or__(self, other: Any) -> Canvas:  # type: ignore[override]
        return Chord(self, other)

    def __repr__(self) -> str:
        return self._repr(f"group({', '.join(map(repr, self.tasks))})")


class Chord(Canvas):
    """A group, the header, and a body that takes the list of its results."""

    def __init__(
        self,
        header: Canvas | Iterable[Canvas],
        body: Canvas | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        one = _canvas(header) if isinstance(header, Mapping) else None
        super().__init__(
            chord=one._part() if isinstance(one, Group) else Group(one or header),
            body=None if body is None else _canvas(body)._part(),
            options=_options(options),
        )

    @property
    def header(self) -> Group:
        """The group before the body."""
        header: Group = self["chord"]
        return header

    @property
    def tasks(self) -> list[Canvas]:
        """The members of the header."""
        return self.header.tasks

    @property
    def body(self) -> Canvas:
        """The signature that runs after the header's success. Raises ``ValueError`` without one."""
        body: Canvas | None = self["body"]
        if body is None:
            raise ValueError(
                f"This chord has no body yet: write chord(header)(body), got {self!r}."
            )
        return body

    def set_immutable(self, immutable: bool) -> None:
        self.header.set_immutable(immutable)

    def __or__(self, other: Any) -> Canvas:  # type: ignore[override]
        if self.options:
            return super().__or__(other)
        return Chord(self.header, self.body | other)

    def __call__(self, body: Canvas | None = None, **options: Any) -> Handle:
        """Enqueue the chord, with *body* if it is given: ``chord(header)(body)``."""
        whole = self if body is None else Chord(self.header, body, self.options)
        return whole.apply_async((), {}, **options)

    def __repr__(self) -> str:
        header = ", ".join(map(repr, self.tasks))
        group = f"[{header}]" if not self.header.options else repr(self.header)
        body = "" if self["body"] is None else f", {self['body']!r}"
        return self._repr(f"chord({group}{body})")


class Chunks(Group):
    """The group of ``f.chunks(calls, n)``: each job makes *n* calls."""

    def group(self) -> Group:
        """Return the group, as in Celery's ``chunks``."""
        return self


def chain(*tasks: Canvas | Iterable[Canvas]) -> Chain:
    """Return a chain: *tasks* one after the other.

    Each takes the result of the one before as its first argument, unless it is immutable
    (``f.si()``). Raises ``ValueError`` without tasks.
    """
    return Chain([link for task in _canvases(_one_or_all(tasks)) for link in _links(task)])


def group(*tasks: Canvas | Iterable[Canvas]) -> Group:
    """Return a group: *tasks* at the same time, with the list of their results in this order.

    The result of a nested group is a nested list.
    """
    return Group(_one_or_all(tasks))


def chord(header: Canvas | Iterable[Canvas], body: Canvas | None = None) -> Chord:
    """Return a chord: the group *header*, and *body*, which takes the list of its results.

    ``chord(header)(body)`` enqueues it at once.
    """
    return Chord(header, body)


def signature(
    task: str | Mapping[str, Any],
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    immutable: bool = False,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Canvas:
    """Return the signature of a call, or the canvas of a JSON form.

    *task* is the name of a job function, the job function, or a canvas's JSON form. Raises
    ``ValueError`` for an invalid form and ``TypeError`` for another type.
    """
    if isinstance(task, Canvas):
        return task
    if isinstance(task, Mapping):
        refuse_deep(task)
        return _from_form(task)
    name = getattr(task, "name", task)
    if not isinstance(name, str):
        raise TypeError(f"signature() takes the name of a job function, got {task!r}.")
    return Signature(name, args, kwargs, {**(options or {}), **more}, immutable=immutable)


def callbacks(options: Mapping[str, Any], key: str) -> list[Canvas]:
    """Return the option *key*, which is a signature, several, or their JSON forms, as a list."""
    given = options.get(key) or []
    if isinstance(given, str) or not (callable(given) or isinstance(given, Iterable)):
        raise TypeError(f"{key} takes signatures, as f.s(), got {type_of(given)}.")
    try:
        several = [given] if isinstance(given, Mapping) or callable(given) else list(given)
        return [_canvas(callback) for callback in several]
    except TypeError as error:
        raise TypeError(f"{key} takes signatures, as f.s(): {error}") from None


def _options(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of the options in which callbacks are lists."""
    given = given or {}
    return {
        key: callbacks(given, key) if key in CALLBACKS else value for key, value in given.items()
    }


def _from_form(form: Mapping[str, Any]) -> Canvas:
    options = form.get("options", {})
    if not isinstance(options, Mapping):
        raise ValueError(f"options must be a dict, got {type_of(options)}.")
    kinds = form.keys() - {"options"}
    if kinds <= {"task", "args", "kwargs", "immutable"} and isinstance(form.get("task"), str):
        args, kwargs = form.get("args", []), form.get("kwargs", {})
        if isinstance(args, (list, tuple)) and isinstance(kwargs, Mapping):
            immutable = bool(form.get("immutable"))
            return Signature(form["task"], args, kwargs, options, immutable=immutable)
    elif kinds == {"chain"}:
        return Chain(form["chain"], options)
    elif kinds == {"group"}:
        return Group(form["group"], options)
    elif kinds == {"chord", "body"}:
        return Chord(form["chord"], form["body"], options)
    keys = ", ".join(map(repr, form)) or "nothing"
    raise ValueError(
        "The form of a signature has 'task' (a name), 'args', 'kwargs', 'options' and 'immutable', "
        f"or 'chain', 'group', or 'chord' and 'body'; got {keys}."
    )


def _canvas(task: Any) -> Canvas:
    """Return *task* as a canvas; a job function means ``f.s()``."""
    if isinstance(task, Canvas):
        refuse_deep(task)
        return task
    if isinstance(task, Mapping):
        return signature(task)
    name = getattr(task, "name", None)
    if isinstance(name, str) and registry.find(name) is task:
        return Signature(name)
    hint = " Make it a job function with @job, and write f.s()." if callable(task) else ""
    raise TypeError(f"A workflow is made of signatures, got {task!r}.{hint}")


def _canvases(tasks: Any) -> list[Canvas]:
    """Return one signature or several as a list of canvases."""
    if isinstance(tasks, Mapping) or callable(tasks):
        tasks = [tasks]
    elif isinstance(tasks, str) or not isinstance(tasks, Iterable):
        raise TypeError(f"A workflow is made of signatures, got {tasks!r}.")
    return [_canvas(task) for task in tasks]


def _parts(tasks: Any) -> list[Canvas]:
    """Return copies of the signatures, so that a change of the whole does not change them."""
    return [task._part() for task in _canvases(tasks)]


def _one_or_all(tasks: Sequence[Any]) -> Any:
    """Return the only element of *tasks*, which may be an iterable, or all of them."""
    return tasks[0] if len(tasks) == 1 else tasks


def _links(task: Canvas) -> list[Canvas]:
    """Return the links of a chain without options, or else *task* itself."""
    return list(task.tasks) if isinstance(task, Chain) and not task.options else [task]
