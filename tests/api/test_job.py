from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs import job
from django_jobs.api.job import JobFunction
from django_jobs.define import registry
from django_jobs.define.context import JobContext
from django_jobs.exceptions import DuplicateJob, MaxRetriesExceededError, NestedJob, UnknownJob
from django_jobs.values import Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]


def test_job_is_named_after_module_and_function() -> None:
    assert jobs.add.name == "tests.jobs.add"
    assert registry.get("tests.jobs.add") is jobs.add


def test_job_name_given_is_the_registered_one() -> None:
    @job(name="given")
    def body() -> None: ...

    assert registry.get("given") is body
    assert registry.find(f"{__name__}.body") is None


def test_attributes_of_the_function_stay_and_hide_no_method() -> None:
    def body() -> None: ...

    vars(body).update(delay=print, enqueue=print)  # as RQ's decorator does
    function = job(body)
    assert "delay" not in vars(function)
    assert function.delay().name == f"{__name__}.body"
    assert vars(function)["enqueue"] is print


def test_job_keeps_the_function_s_doc_and_signature() -> None:
    @job
    def body(a: int, *, b: str = "") -> None:
        """What it does."""

    assert body.__doc__ == "What it does."
    assert list(inspect.signature(body).parameters) == ["a", "b"]


def test_job_called_runs_the_function_here() -> None:
    assert jobs.add(1, b=2) == 3


async def call_async() -> int:
    return await jobs.add_async(1, b=2)


def test_async_job_called_gives_a_coroutine() -> None:
    import asyncio

    assert asyncio.run(call_async()) == 3


def test_bound_job_called_gets_a_context_that_says_so() -> None:
    seen = jobs.tell_request(1, x=2)
    assert seen["called_directly"] is True
    assert seen["id"] is None
    assert (seen["args"], seen["kwargs"]) == ([1], {"x": 2})


def test_unknown_option_says_where_and_what_there_is() -> None:
    options: dict[str, Any] = {"retry_kwargs": {"max_retries": 5}, "time_limits": 3, "zzz": 1}

    def pay() -> None: ...

    with pytest.raises(TypeError) as caught:
        job(**options)(pay)
    text = str(caught.value)
    assert text.startswith(f"@job {__name__}.pay: Unknown option retry_kwargs ")
    assert "retry_kwargs (use max_retries=, and for its countdown default_retry_delay= with" in text
    assert "time_limits (did you mean time_limit=?), zzz. Allowed: name, bind, " in text


def test_retry_in_a_direct_call_raises_the_error_itself() -> None:
    @job(bind=True)
    def body(self: Any, error: Exception | None) -> None:
        self.retry(exc=error)

    with pytest.raises(ValueError, match="mine"):
        body(ValueError("mine"))
    with pytest.raises(MaxRetriesExceededError):
        body(None)


def test_duplicate_name_of_another_function_is_an_error() -> None:
    @job(name="twice")
    def one() -> None: ...

    with pytest.raises(DuplicateJob, match="Two job functions are named 'twice'") as caught:

        @job(name="twice")
        def two() -> None: ...

    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


def test_same_function_defined_again_replaces_itself() -> None:
    def define() -> JobFunction[[], None, None]:
        @job(name="reloaded")
        def body() -> None: ...

        return body

    define()
    again = define()
    assert registry.get("reloaded") is again


def test_unknown_name_says_where_job_functions_are_looked_for() -> None:
    with pytest.raises(UnknownJob, match=r"jobs\.py or tasks\.py"):
        registry.get("nobody.home")


@pytest.mark.parametrize("what", [42, jobs.add])
def test_job_of_something_else_is_a_type_error(what: Any) -> None:
    with pytest.raises(TypeError, match="@job decorates a function"):
        job(what)


def test_bind_needs_a_positional_parameter() -> None:
    with pytest.raises(ImproperlyConfigured, match="bind=True"):

        @job(bind=True)
        def body(*, self: Any) -> None: ...


def test_atomic_async_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="atomic=True needs a plain function"):

        @job(atomic=True)
        async def body() -> None: ...


def test_bind_hides_self_from_the_signature() -> None:
    @job(bind=True)
    def body(self: Any, user_id: int) -> None: ...

    assert body.parameters == ("user_id",)
    body.bind([1], {})
    with pytest.raises(TypeError, match="missing a required argument: 'user_id'"):
        body.bind([], {})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"c": 2}), ((1,), {"a": 2})],
)
def test_arguments_that_do_not_fit_are_a_type_error(args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError, match=r"tests\.jobs\.add\(a: .*int.*, b: .*\)"):
        jobs.add.bind(args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((1,), {"b": 2})]
)
def test_arguments_that_fit_are_accepted(args: Any, kwargs: Any) -> None:
    jobs.add.bind(args, kwargs)


def test_keyword_only_parameters_are_not_filled_by_position() -> None:
    @job
    def body(a: int, *, b: int) -> None: ...

    with pytest.raises(TypeError):
        body.bind([1, 2], {})
    with pytest.raises(TypeError):
        body.bind([1], {})
    body.bind([1], {"b": 2})


def test_base_is_the_class_that_bind_passes() -> None:
    class Mine(JobContext):
        def double(self) -> int:
            return 2

    @job(bind=True, base=Mine)
    def body(self: Mine) -> int:
        return self.double()

    assert body() == 2


def test_context_offers_the_job_function_s_verbs() -> None:
    @job(bind=True)
    def body(self: Any) -> Any:
        return self.apply_async, self.name

    verb, name = body()
    assert verb == body.apply_async
    assert name == body.name


def test_every_returns_job_functions_by_name() -> None:
    names = [function.name for function in registry.every()]
    assert names == sorted(names)
    assert "tests.jobs.add" in names


# --- what no worker could run -------------------------------------------------------------------


def module(name: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"{name}.py").write_text(f"from django_jobs import job\n{source}")
    return importlib.import_module(name)


def test_two_functions_of_one_name_in_a_module_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = "@job\ndef pay(): ...\n" * 2
    with pytest.raises(DuplicateJob, match=r"twin_jobs defines the job function 'twin_jobs.pay'"):
        module("twin_jobs", twice, tmp_path, monkeypatch)
    factory = "def made():\n    @job\n    def pay(): ...\n    return pay\n"
    with pytest.raises(DuplicateJob, match="twice"):
        module("made_jobs", f"{factory}one, two = made(), made()\n", tmp_path, monkeypatch)


def test_reload_of_a_module_defines_its_functions_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = module("fresh_jobs", "@job\ndef pay(): return 1\n", tmp_path, monkeypatch)
    first = loaded.pay
    assert importlib.reload(loaded).pay is not first
    assert registry.get("fresh_jobs.pay") is loaded.pay


def test_function_in_a_function_is_warned_of_unless_its_module_is_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory = "def made(n):\n    @job(name=n)\n    def pay(): ...\n    return pay\n"
    loaded = module("late_jobs", f"{factory}one = made('one')\n", tmp_path, monkeypatch)
    with pytest.warns(NestedJob, match=r"late_jobs\.pay is defined inside a function"):
        loaded.made("two")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: str, "got the class str"),
        (lambda: lambda: None, "got a lambda in tests.api.test_job.<lambda>. Use def"),
        (lambda: Counter.update, "Counter.update is a method"),
        (lambda: functools.partial(print), "@job decorates a function, got functools.partial"),
    ],
)
def test_what_no_worker_can_call_is_refused(made: Any, text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        job(made())


def test_function_of_the_program_itself_is_warned_of() -> None:
    def pay() -> None: ...

    pay.__module__, pay.__qualname__ = "__main__", "pay"
    with pytest.warns(NestedJob, match="no worker imports the program"):
        job(pay)


# --- wrappers -----------------------------------------------------------------------------------


def test_wrapper_s_own_parameters_count(run: Callable[..., Outcome]) -> None:
    def with_rate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(amount: int) -> Any:
            return function(2, amount)

        return wrapper

    @job
    @with_rate
    def convert(rate: int, amount: int) -> int:
        return rate * amount

    assert run(convert, 21).value == 42
    with pytest.raises(TypeError, match=r"unexpected argument 'amont' \(did you mean 'amount'\?\)"):
        convert.delay(amont=1)


def test_plain_wrapper_takes_what_the_function_takes() -> None:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @job
    @traced
    def convert(amount: int) -> int:
        return amount

    assert convert.parameters == ("amount",)
    with pytest.raises(TypeError, match="amount"):
        convert.delay()


def test_typing_off_binds_nowhere(run: Callable[..., Outcome]) -> None:
    def with_rate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(2, *args)

        return wrapper

    @job(typing=False)
    @with_rate
    def convert(rate: int, amount: int) -> int:
        return rate * amount

    assert run(convert, 21).value == 42


def test_coroutine_of_a_plain_wrapper_is_awaited(run: Callable[..., Outcome]) -> None:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    @job
    @traced
    async def double(number: int) -> int:
        return 2 * number

    @job(atomic=True)
    @traced
    async def doomed() -> None: ...

    assert run(double, 21).value == 42
    outcome = run(doomed)
    assert outcome.failure is not None
    assert "atomic=True needs a plain function" in outcome.failure.message


# --- base classes -------------------------------------------------------------------------------


def test_base_class_wraps_the_body(run: Callable[..., Outcome]) -> None:
    class Doubled(JobContext):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().__call__(*args, **kwargs)

    @job(base=Doubled)
    def plain(number: int) -> int:
        return number

    @job(base=Doubled, bind=True)
    def bound(self: JobContext, number: int) -> int:
        return number + self.request.retries

    assert [run(plain, 21).value, run(bound, 21).value] == [42, 42]
    assert [plain(21), bound(21)] == [42, 42]


@pytest.mark.parametrize("name", ["autoretry_for", "retry_kwargs", "max_retries", "queue"])
def test_base_class_that_sets_an_option_is_refused(name: str) -> None:
    base = type("Tenant", (JobContext,), {name: 3, "abstract": True})
    with pytest.raises(ImproperlyConfigured) as caught:
        job(base=base)(pay)
    text = f"@job {__name__}.pay: base Tenant sets {name}: options belong to @job"
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("name", ["apply_async", "delay", "run"])
def test_base_class_that_overrides_the_call_is_refused(name: str) -> None:
    base = type("Tenant", (JobContext,), {name: lambda self: None})
    with pytest.raises(ImproperlyConfigured, match=rf"base Tenant defines {name}\(\)"):
        job(base=base)(pay)


def pay() -> None: ...


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("pydantic", "annotations convert models"),
        ("pydantic_strict", "strict=True"),
        ("pydantic_context", "context=..."),
        ("pydantic_dump_kwargs", "model.model_dump(mode='json')"),
        ("reject_on_worker_lost", "on_worker_lost='fail'"),
        ("track_started", "leave it out"),
    ],
)
def test_options_of_celery_s_tasks_name_what_to_use(option: str, instead: str) -> None:
    with pytest.raises(TypeError) as caught:
        job(**{option: True})(told_nothing)  # type: ignore[misc]
    assert f"Unknown option {option} (" in str(caught.value)
    assert instead in str(caught.value)


def told_nothing() -> None: ...
