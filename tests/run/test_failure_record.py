"""A failed job is one record of the log, with an exception that quotes no secret."""

from __future__ import annotations

import gc
import io
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import mail
from django.utils.log import AdminEmailHandler
from django.views.debug import ExceptionReporter

from django_jobs import job
from django_jobs.log.console import console_handler
from django_jobs.log.safe_error import safe_error
from django_jobs.redaction import Secrets
from django_jobs.run import forks
from django_jobs.values import Outcome
from tests import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.once]

Run = Callable[..., Outcome]
SECRET = "hunter2-opensesame"
_log = logging.getLogger("django_jobs")


@job(name="records.login", max_retries=0)
def login(user: str, password: str) -> None:
    copied = [password]
    try:
        raise KeyError(password)
    except KeyError as error:
        raise ValueError(f"no user {user} with {copied[0]}") from error


@job(name="records.pay", max_retries=0)
def pay(pin: str) -> None:
    raise ValueError("refused")


@job(name="records.odd", max_retries=0)
def odd(kind: str, password: str) -> None:
    error = ValueError(password)
    if kind == "notes":
        error.__notes__ = 5  # type: ignore[assignment]
    elif kind == "class":
        error = type("Odd", (ValueError,), {"__module__": ["no", "name"]})(password)
    raise error


@job(name="records.forks", max_retries=0)
def forks_and_fails(password: str) -> None:
    if (pid := os.fork()) == 0:
        try:
            raise ValueError(f"the child has {password}")
        except ValueError as error:
            forks.leave(error)
        finally:
            os._exit(2)
    os.waitpid(pid, 0)


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def handled() -> Iterator[Callable[[logging.Handler], Any]]:
    """Let a handler take the package's records."""
    added = []

    def add(handler: logging.Handler) -> Any:
        _log.addHandler(handler)
        added.append(handler)
        return handler

    yield add
    for handler in added:
        _log.removeHandler(handler)


def only_record(handler: Records) -> logging.LogRecord:
    (record,) = handler.records
    return record


def exception_in(record: logging.LogRecord) -> BaseException:
    assert record.exc_info is not None
    assert record.exc_info[1] is not None
    return record.exc_info[1]


def frames_in(record: logging.LogRecord) -> list[tuple[str, dict[str, Any]]]:
    assert record.exc_info is not None
    return [
        (frame.f_code.co_name, dict(frame.f_locals))
        for frame, _line in traceback.walk_tb(record.exc_info[2])
    ]


def test_record_has_the_exception_itself_if_the_job_has_no_secret(run: Run, handled: Any) -> None:
    handler = handled(Records())
    outcome = run(jobs.fail, "defect")
    record = only_record(handler)
    assert exception_in(record) is outcome.value
    assert frames_in(record) == [("fail", {"message": "defect"})]
    assert "Traceback" not in record.getMessage()
    assert vars(record)["status"] == "FAILURE"


@pytest.mark.parametrize(("function", "args"), [(login, ["ada", SECRET]), (pay, ["123"])])
def test_record_has_a_copy_without_locals_if_the_job_has_a_secret(
    run: Run, handled: Any, function: Any, args: list[str]
) -> None:
    handler = handled(Records())
    outcome = run(function, *args)
    record = only_record(handler)
    error = exception_in(record)
    assert error is not outcome.value
    assert (type(error).__module__, type(error).__qualname__) == ("builtins", "ValueError")
    assert frames_in(record) == [(function.__name__, {})]


def test_copy_has_the_message_the_causes_and_the_lines_without_secrets(
    run: Run, handled: Any
) -> None:
    handler = handled(Records())
    outcome = run(login, "ada", SECRET)
    record = only_record(handler)
    assert outcome.failure is not None
    assert record.exc_info is not None
    # A formatter that ignores exc_text writes this text; the row has it without the marks.
    text = "".join(traceback.format_exception(*record.exc_info))
    without_marks = "".join(
        line
        for line in outcome.failure.traceback.splitlines(True)
        if not line.strip() or set(line.strip()) - set("^~")
    )
    assert text == without_marks
    assert "KeyError: '********'" in text
    assert 'raise ValueError(f"no user {user} with {copied[0]}") from error' in text
    assert SECRET not in text
    assert SECRET not in repr(vars(record))


def test_copies_of_groups_notes_and_long_chains_are_bounded_and_without_secrets() -> None:
    try:
        try:
            raise ExceptionGroup(f"many {SECRET}", [KeyError(SECRET), OSError("away")])
        except ExceptionGroup as group:
            group.add_note(f"tried with {SECRET}")
            raise RuntimeError("all") from group
    except RuntimeError as error:
        whole = error
    copy = safe_error(whole, Secrets([SECRET]))
    text = "".join(traceback.format_exception(copy))
    assert SECRET not in text
    assert "many ******** (2 sub-exceptions)" in text
    assert "tried with ********" in text
    assert "OSError: away" in text
    chain: BaseException = ValueError("0")
    for number in range(1, 100):
        later = ValueError(str(number))
        later.__cause__ = chain
        chain = later
    short = "".join(traceback.format_exception(safe_error(chain, Secrets([SECRET]))))
    assert 15 < short.count("ValueError") < 30


def test_copies_of_exceptions_that_lead_to_each_other_are_made_once() -> None:
    members = [ValueError("one"), ValueError("two")]
    group = ExceptionGroup("both", members)
    for member in members:
        member.__cause__ = group
    text = "".join(traceback.format_exception(safe_error(group, Secrets([SECRET]))))
    assert text.count("ValueError: one") == 1


@pytest.mark.parametrize("kind", ["notes", "class"])
def test_odd_exception_is_a_record_without_secrets(run: Run, handled: Any, kind: str) -> None:
    handler = handled(Records())
    outcome = run(odd, kind, SECRET)
    record = only_record(handler)
    error = exception_in(record)
    assert outcome.failure is not None
    assert type(error).__name__ == outcome.failure.error_class.rpartition(".")[2]
    assert str(error) == "********"


def test_error_of_a_forked_child_is_a_record_without_secrets(
    run: Run, handled: Any, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    handler = handled(logging.FileHandler(file))
    handler.setFormatter(logging.Formatter("%(message)s"))
    run(forks_and_fails, SECRET)
    handler.close()
    text = file.read_text()
    assert "a forked child left the job's body" in text
    assert "ValueError: the child has ********" in text
    assert SECRET not in text


def test_console_shows_the_traceback_once(run: Run, handled: Any) -> None:
    console = handled(console_handler())
    console.setStream(stream := io.StringIO())
    run(jobs.fail, "defect")
    run(login, "ada", SECRET)
    text = stream.getvalue()
    assert text.count("raise ValueError(message)") == 1
    assert text.count("raise ValueError(f") == 1
    assert text.count("Traceback") == 3  # with that of the cause
    assert SECRET not in text


def test_text_of_a_record_is_bounded(run: Run, handled: Any) -> None:
    handler = handled(Records())
    run(jobs.fail, "x" * 100_000)
    assert 10_000 < len(logging.Formatter().format(only_record(handler))) < 20_000


# The handler itself uses what Django 6.1 has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_admins_get_one_mail_without_secrets(run: Run, handled: Any, settings: Any) -> None:
    settings.ADMINS = ["ada@example.com"] if django.VERSION >= (6, 0) else [("", "ada@example.com")]
    handled(AdminEmailHandler(include_html=True)).setLevel(logging.ERROR)
    run(login, "ada", SECRET)
    (message,) = mail.outbox
    assert isinstance(message, mail.EmailMultiAlternatives)
    html = str(message.alternatives[0][0])
    assert "failure name=records.login" in message.subject
    assert "no user ada with ********" in str(message.body)
    assert "in login" in str(message.body)
    assert SECRET not in f"{message.subject} {message.body} {html}"


def test_row_that_a_database_refused_is_in_no_exception(run: Run, handled: Any) -> None:
    @job(name="records.refused", max_retries=0)
    def refused() -> None:
        raise ValueError("null value\nDETAIL:  Failing row contains (1, hunter2-op).")

    handler = handled(Records())
    run(refused)
    record = only_record(handler)
    assert record.exc_info is not None
    reporter = ExceptionReporter(None, *record.exc_info)
    # Its source has the text, too.
    assert str(reporter.exc_value) == "null value\nDETAIL:  Failing row contains (not shown)"


def test_expected_and_retried_exceptions_have_no_exception_in_their_line(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    @job(name="records.expected", throws=[KeyError], max_retries=0)
    def expected() -> None:
        raise KeyError("x")

    @job(name="records.flaky", max_retries=1, autoretry_for=[OSError])
    def flaky() -> None:
        raise OSError("away")

    caplog.set_level(logging.INFO, "django_jobs.job")
    run(expected)
    run(flaky)
    found = [
        (record.levelname, vars(record)["status"], record.exc_info) for record in caplog.records
    ]
    assert found == [("INFO", "FAILURE", None), ("WARNING", "RETRY", None)]


@pytest.mark.parametrize("secret", ["", SECRET])
def test_record_keeps_no_local_variable_alive(
    run: Run, handled: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    class Big:
        alive = 0

        def __init__(self) -> None:
            Big.alive += 1

        def __del__(self) -> None:
            Big.alive -= 1

    @job(name="records.big", max_retries=0)
    def big(token: str = "") -> None:
        kept = Big()
        raise ValueError(str(bool(kept)))

    # The handlers of pytest keep all records.
    monkeypatch.setattr(_log, "propagate", False)
    handler = handled(Records())
    run(big, *filter(None, [secret]))
    gc.collect()
    assert Big.alive == (0 if secret else 1)
    handler.records.clear()
    gc.collect()
    assert Big.alive == 0
