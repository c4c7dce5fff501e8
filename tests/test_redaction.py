from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from django_jobs.failure import MAX_MESSAGE, MAX_TRACEBACK, describe
from django_jobs.redaction import (
    REDACTED,
    is_sensitive,
    redact,
    redact_arguments,
    redact_text,
    redact_values,
    secrets_in,
)


@pytest.mark.parametrize(
    "name",
    ["password", "PASSWORD", "new_password1", "api-key", "apiKey", "access_token", "Authorization",
     "client_secret", "card", "credit_card", "pin", "user-pin", "sessionid", "db_passwd", "auth"],
)  # fmt: skip
def test_names_of_secrets_are_sensitive(name: str) -> None:
    assert is_sensitive(name)


@pytest.mark.parametrize(
    "name", ["user_id", "pinned", "spinner", "cardinality", "author", "compass", "key", "option"]
)
def test_innocent_names_are_not(name: str) -> None:
    assert not is_sensitive(name)


def test_a_job_s_own_sensitive_names_are_exact() -> None:
    assert is_sensitive("Nickname", ["nickname"])
    assert not is_sensitive("nicknames", ["nickname"])


def test_setting_adds_parts_of_names(settings: Any) -> None:
    assert not is_sensitive("my_dna_profile")
    settings.DJANGO_JOBS = {"SENSITIVE_NAMES": ["DNA"]}
    assert is_sensitive("my_dna_profile")


def test_redact_blanks_values_however_deep() -> None:
    value = {"user": 1, "login": [{"password": "hunter2", "name": "x"}], "token": {"a": 1}}
    assert redact(value) == {
        "user": 1,
        "login": [{"password": REDACTED, "name": "x"}],
        "token": REDACTED,
    }
    assert value["token"] == {"a": 1}


def test_redact_arguments_names_positional_ones_by_their_parameters() -> None:
    shown: tuple[list[Any], dict[str, Any]] = redact_arguments(
        ["joe", "hunter2", {"pin": 1}, "more"],
        {"secret": "x", "b": [{"token": "y"}]},
        ("user", "password", "extra"),
    )
    assert shown == (
        ["joe", REDACTED, {"pin": REDACTED}, "more"],
        {"secret": REDACTED, "b": [{"token": REDACTED}]},
    )


def test_secrets_in_finds_the_leaves() -> None:
    found = secrets_in(
        ["joe", "hunter2"], {"data": [{"token": ["t0ken", 12345]}]}, ("user", "password")
    )
    assert found == {"hunter2", "t0ken", "12345"}


def test_short_secrets_do_not_blank_a_whole_text() -> None:
    assert secrets_in([], {"pin": "12"}) == set()


def test_redact_text_takes_the_longest_first() -> None:
    assert redact_text("abcdef abcd", ["abcd", "abcdef"]) == f"{REDACTED} {REDACTED}"


AWKWARD = "key\n'a\"\\ \u00e9+b/c="


@pytest.mark.parametrize(
    "text",
    [
        AWKWARD,
        f"{AWKWARD!r}",
        f"{AWKWARD + chr(39)!r}",
        ascii(AWKWARD),
        str(["curl", AWKWARD]),
        json.dumps({"a": AWKWARD}),
        json.dumps({"a": AWKWARD}, ensure_ascii=False),
        f"https://host/?a={quote(AWKWARD)}",
        f"https://host/?a={quote(AWKWARD, safe='')}",
        f"https://host/?{urlencode({'a': AWKWARD})}",
    ],
)
def test_secret_is_blanked_as_it_is_escaped(text: str) -> None:
    blanked = redact_text(text, secrets_in([], {"token": AWKWARD}))
    assert REDACTED in blanked
    assert "key" not in blanked


def test_redact_values_finds_secrets_however_deep() -> None:
    value = {"hunter2": ["a hunter2", 12345, 1, True, None, {"a": ("hunter2",)}]}
    assert redact_values(value, {"hunter2", "12345", "True"}) == {
        REDACTED: [f"a {REDACTED}", REDACTED, 1, True, None, {"a": [REDACTED]}]
    }


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_failure_has_no_secret_in_message_traceback_or_args() -> None:
    failure = describe(raised(ValueError("bad hunter2", "hunter2")), ["hunter2"])
    assert failure.error_class == "builtins.ValueError"
    for text in (failure.message, failure.traceback, failure.args):
        assert text
        assert "hunter2" not in text
        assert REDACTED in text


def test_failure_has_no_secret_deep_in_its_args() -> None:
    error = ValueError({"sent": ["hunter2", 12345]}, ("hunter2",), 7)
    failure = describe(raised(error), ["hunter2", "12345"])
    assert json.loads(failure.args or "") == [{"sent": [REDACTED, REDACTED]}, [REDACTED], 7]


def test_failure_of_a_chained_error_hides_the_secret_in_its_cause() -> None:
    try:
        try:
            raise KeyError("hunter2")
        except KeyError as cause:
            raise ValueError("outer") from cause
    except ValueError as error:
        failure = describe(error, ["hunter2"])
    assert "KeyError" in failure.traceback
    assert "hunter2" not in failure.traceback.replace('raise KeyError("hunter2")', "")


def test_failure_can_be_stored_everywhere() -> None:
    failure = describe(raised(ValueError("a\0b \ud800")), [])
    assert failure.message == "a\\x00b \\ud800"
    assert failure.args is None
    failure.traceback.encode()


def test_failure_is_bounded() -> None:
    failure = describe(raised(ValueError("x" * 100_000)), [])
    assert len(failure.message) < MAX_MESSAGE + 100
    assert len(failure.traceback) < MAX_TRACEBACK + 100
    assert "characters cut" in failure.message
    assert failure.args is None


def test_failure_of_an_error_that_cannot_be_printed() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert describe(raised(Broken()), []).message == "(its __str__ raised RuntimeError)"
