from __future__ import annotations

import base64
import dataclasses
import functools
import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs import group, job
from django_jobs.define.hidden_arguments import rules_of
from django_jobs.define.sensitive import redact, shown_arguments
from django_jobs.failure import MAX_MESSAGE, MAX_TRACEBACK, describe
from django_jobs.redaction import MOST_SECRETS, NO_SECRETS, REDACTED, Secrets, is_sensitive
from tests.test_serialization import calls

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "name",
    ["password", "PASSWORD", "new_password1", "api-key", "apiKey", "access_token", "Authorization",
     "client_secret", "card", "credit_card", "pin", "user-pin", "sessionid", "db_passwd", "auth",
     # in one word, as JSON of other languages has them
     "privateKey", "accessKey", "cardNumber", "creditCard", "pinCode", "userPwd", "dbPass",
     "authHeader", "API Key", "SSHKey", "userPIN", "apiKeys", "password2", "cvv2",
     # Django's own filter of debug pages hides these
     "session_key", "encryption_key", "signing_key", "stripe_key", "ssh_key", "signature",
     "passcode", "X-Amz-Signature", "keystore", "jwt", "bearer", "dsn", "database_url",
     "connection_string", "mfa_code", "totp", "recovery_code", "security_code", "account_number"],
)  # fmt: skip
def test_names_of_secrets_are_sensitive(name: str) -> None:
    assert is_sensitive(name)


@pytest.mark.parametrize(
    "name",
    ["user_id", "pinned", "spinner", "cardinality", "author", "compass", "key", "option",
     "className", "primary_key", "unique_key", "cacheKey", "s3_key", "keyboard", "monkey",
     "session", "design", "passenger", "x" * 5_000],
)  # fmt: skip
def test_innocent_names_are_not(name: str) -> None:
    assert not is_sensitive(name)


def test_a_job_s_own_sensitive_names_are_whole() -> None:
    assert is_sensitive("Nickname", ["nickname"])
    assert is_sensitive("homeTown", ["home_town"])
    assert not is_sensitive("nicknames", ["nickname"])


def test_setting_adds_parts_of_names(settings: Any) -> None:
    assert not is_sensitive("my_dna_profile")
    settings.DJANGO_JOBS = {"SENSITIVE_NAMES": ["DNA", "home_town"]}
    assert is_sensitive("my_dna_profile")
    assert is_sensitive("theHomeTown")


def test_redact_blanks_values_however_deep() -> None:
    value = {"user": 1, "login": [{"password": "hunter2", "name": "x"}], "token": {"a": 1}}
    assert redact(value) == {
        "user": 1,
        "login": [{"password": REDACTED, "name": "x"}],
        "token": REDACTED,
    }
    assert value["token"] == {"a": 1}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (["password", "x1"], ["password", REDACTED]),
        ([["user", "ann"], ["token", "x1"]], [["user", "ann"], ["token", REDACTED]]),
        ({"name": "password", "value": "x1"}, {"name": "password", "value": REDACTED}),
        ('{"password": "x1"}', REDACTED),
        ('[{"a": {"pin": 1}}]', REDACTED),
        ('{"user": "ann"}', '{"user": "ann"}'),
        ("{broken", "{broken"),
        ("https://ann:x1@host/a", f"https://ann:{REDACTED}@host/a"),
        ("https://host/?a=1&token=x1&b=2", f"https://host/?a=1&token={REDACTED}&b=2"),
        ("a=b", "a=b"),
        ("Authorization: Bearer x1 y2", f"Authorization: {REDACTED}"),
        ("{'user': 'ann', 'password': 'x1'}", f"{{'user': 'ann', 'password': {REDACTED}}}"),
        ('sent {"pin": 4711, "a": 1}', f'sent {{"pin": {REDACTED}, "a": 1}}'),
        ("at 12:30: done", "at 12:30: done"),
    ],
)
def test_redact_knows_other_spellings(value: Any, shown: Any) -> None:
    assert redact([value]) == [shown]


WRAPPERS: list[Callable[[Any], Any]] = [
    lambda value: [1, value],
    lambda value: {"a": value, "b": 1},
    lambda value: [["x", value]],
    lambda value: json.dumps(value),
    lambda value: f"  {json.dumps(value)}",
    lambda value: str(value),
    lambda value: f"sent {json.dumps(value)} to them",
    lambda value: {"task": "shop.gone", "args": [value], "kwargs": {"a": value}},
    lambda value: {"chain": [{"task": "shop.gone", "args": [], "options": {"a": value}}]},
]


@given(
    st.sampled_from(["password", "apiKey", "X-Amz-Signature", "pin", "stripe_key"]),
    st.lists(st.sampled_from(WRAPPERS), max_size=4),
)
def test_redact_finds_a_secret_wrapped_in_anything(name: str, wrappers: list[Any]) -> None:
    value: Any = {name: "hunter2secret", "user": "ann"}
    for wrap in wrappers:
        value = wrap(value)
    assert "hunter2secret" not in json.dumps(redact(value))


def test_redact_blanks_values_that_nest_too_deep() -> None:
    value: Any = "end"
    for _ in range(900):
        value = [value]
    assert REDACTED in json.dumps(redact(value))
    assert "end" not in json.dumps(redact(value))


# --- the texts of secrets -------------------------------------------------------------------------


def test_secrets_are_the_leaves() -> None:
    secrets = Secrets([["t0ken", 12345, True, None], {"a": {"b": "deep-one"}}])
    assert secrets.blanked("t0ken 12345 True None deep-one") == (
        f"{REDACTED} {REDACTED} True None {REDACTED}"
    )


def test_short_secrets_do_not_blank_a_whole_text() -> None:
    assert not Secrets(["12", "abc"])


def test_the_longest_secret_is_blanked_first() -> None:
    assert Secrets(["abcd", "abcdef"]).blanked("abcdef abcd") == f"{REDACTED} {REDACTED}"


AWKWARD = "key\n'a\"\\ \u00e9+b/c=<&>"


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
        repr(AWKWARD.encode()),
        repr({"body": b"x" + AWKWARD.encode()}),
        html.escape(AWKWARD),
        AWKWARD.upper(),
        AWKWARD.lower(),
        base64.b64encode(AWKWARD.encode()).decode(),
        base64.b64encode(f"user:{AWKWARD}".encode()).decode(),
        base64.urlsafe_b64encode(f"us:{AWKWARD}!".encode()).decode(),
    ],
)
def test_secret_is_blanked_as_it_is_escaped(text: str) -> None:
    blanked = Secrets([AWKWARD]).blanked(text)
    assert REDACTED in blanked
    assert "key" not in blanked.lower()
    middle = base64.b64encode(AWKWARD.encode()).decode()[4:-6]
    assert middle not in blanked


def test_secret_is_blanked_when_it_was_stripped() -> None:
    assert Secrets(["hunter2-file\n"]).blanked("bad 'hunter2-file'") == f"bad '{REDACTED}'"


def test_blanked_value_finds_secrets_however_deep() -> None:
    value = {"hunter2": ["a hunter2", 12345, 1, True, None, {"a": ("hunter2",)}]}
    assert Secrets(["hunter2", "12345"]).blanked_value(value) == {
        REDACTED: [f"a {REDACTED}", REDACTED, 1, True, None, {"a": [REDACTED]}]
    }
    assert Secrets(["hunter2"]).blanked_value(5) == 5
    assert Secrets(["hunter2"]).blanked_value(["a\0b", "hunter2"]) == REDACTED


def test_too_many_secrets_blank_the_whole_text() -> None:
    many = Secrets([f"secret{number}" for number in range(MOST_SECRETS + 1)])
    assert many.blanked("harmless") == REDACTED
    assert many.blanked("") == ""
    assert many.blanked_value({"a": 1}) == REDACTED
    few = Secrets([f"secret{number}" for number in range(MOST_SECRETS)])
    assert few.blanked("harmless secret7") == f"harmless {REDACTED}"


def test_values_without_end_blank_the_whole_text() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    endless: list[Any] = [Broken()]
    endless += [endless, endless]
    assert Secrets([endless]).blanked("harmless") == REDACTED
    assert json.dumps(redact(["x", {"token": [Broken(), None, 1]}])) == json.dumps(
        ["x", {"token": REDACTED}]
    )


def test_repr_of_secrets_has_none() -> None:
    assert "hunter2" not in repr(Secrets(["hunter2"]))


@pytest.mark.parametrize("make", [
    lambda size: ([f"secret{number}" for number in range(size)], ["text"] * size),
    lambda size: (["hunter2"], ["text"] * size),
    lambda size: (["hunter2"], [{"a": number} for number in range(size)]),
])  # fmt: skip
def test_twice_the_secrets_and_texts_cost_twice(make: Any) -> None:
    def blank(secrets: Any, value: Any) -> None:
        Secrets(secrets).blanked_value(value)

    once, twice = (calls(functools.partial(blank, *make(size))) for size in (2_000, 4_000))
    assert twice <= 2.2 * once


@pytest.mark.parametrize("make", [
    lambda size: [{"password": "hunter2", "a": ["text", 1]}] * size,
    lambda size: ['{"a": ["b", "c"]}'] * size,
    lambda size: json.dumps([{"a": "b"}] * size),
    lambda size: {"A" * size: ["x=1&y=2 //a:b@c"] * size},
    lambda size: "{" * size,
])  # fmt: skip
def test_twice_the_value_costs_twice_to_redact(make: Any) -> None:
    once, twice = (calls(functools.partial(redact, make(size))) for size in (1_000, 2_000))
    assert twice <= 2.2 * once


# --- the rules of a job's arguments ---------------------------------------------------------------


def test_positional_arguments_are_named_by_their_parameters(registered: Any) -> None:
    @job(name="shop.login")
    def login(user: str, password: str, extra: Any = None) -> None: ...

    shown = shown_arguments(
        rules_of("shop.login"),
        ["joe", "hunter2", {"pin": 1}],
        {"secret": "x", "b": [{"token": "y"}]},
    )
    assert shown.args == ["joe", REDACTED, {"pin": REDACTED}]
    assert shown.kwargs == {"secret": REDACTED, "b": [{"token": REDACTED}]}
    assert shown.text("hunter2 joe") == f"{REDACTED} joe"


def test_arguments_after_a_result_fill_the_next_parameters(registered: Any) -> None:
    @job(name="shop.deploy")
    def deploy(build: str, password: str) -> None: ...

    for options in ('{"takes":"value"}', '{"takes": ["value"]}'):
        assert shown_arguments(rules_of("shop.deploy", options), ["hunter2"], {}).args == [REDACTED]
    for options in (None, "{}", '{"takes":"nothing"}', '{"takes":null}'):
        assert shown_arguments(rules_of("shop.deploy", options), ["b1"], {}).args == ["b1"]
    for options in ('{"takes"', "[" * 100_000 + '"takes"'):
        assert shown_arguments(rules_of("shop.deploy", options), ["b1"], {}).args == [REDACTED]


def test_rest_of_the_arguments_has_the_name_of_the_rest(registered: Any) -> None:
    @job(name="shop.many")
    def many(first: str, *tokens: str, **secrets: str) -> None: ...

    shown = shown_arguments(rules_of("shop.many"), ["a", "t1", "t2"], {"x": "s1", "first": "a"})
    assert shown.args == ["a", REDACTED, REDACTED]
    assert shown.kwargs == {"x": REDACTED, "first": "a"}

    @job(name="shop.one", typing=False)
    def one(first: str) -> None: ...

    assert shown_arguments(rules_of("shop.one"), ["a", "does not fit"], {}).args == ["a", REDACTED]


def test_map_and_starmap_have_the_rules_of_what_they_call(registered: Any) -> None:
    @job(name="shop.verify", sensitive=["answer"])
    def verify(user: int, answer: str = "") -> None: ...

    @job(name="shop.pay")
    def pay(card: str) -> None: ...

    starmap, each = rules_of("django_jobs.starmap"), rules_of("django_jobs.map")
    shown = shown_arguments(starmap, ["shop.verify", [[1, "blue"], [2, "green"]]], {})
    assert shown.args == ["shop.verify", [[1, REDACTED], [2, REDACTED]]]
    shown = shown_arguments(starmap, [], {"name": "shop.verify", "items": [[1, "blue whale"]]})
    assert shown.kwargs["items"] == [[1, REDACTED]]
    assert shown.text("blue whale") == REDACTED
    assert shown_arguments(each, ["shop.pay", ["4111"]], {}).args == ["shop.pay", [REDACTED]]
    assert shown_arguments(each, ["shop.gone", ["4111"]], {}).args == ["shop.gone", [REDACTED]]
    assert shown_arguments(starmap, ["shop.verify", "text"], {}).args == ["shop.verify", REDACTED]
    taken = rules_of("django_jobs.starmap", '{"takes":"value"}')
    assert shown_arguments(taken, [[[1, "blue"]]], {}).args == [[[REDACTED, REDACTED]]]


def test_signatures_among_the_arguments_have_their_own_rules(registered: Any) -> None:
    @job(name="shop.deploy")
    def deploy(build: str, password: str, note: str = "") -> None: ...

    def shown(canvas: Any) -> str:
        return json.dumps(redact(json.loads(json.dumps(canvas))))

    assert "hunter2" not in shown(deploy.s("hunter2"))  # it may be the second one in a chain
    assert "hunter2" not in shown(deploy.si("b1", "hunter2"))
    assert "b1" in shown(deploy.si("b1", "hunter2"))
    assert "a note" in shown(deploy.s(note="a note"))
    assert "hunter2" not in shown(deploy.s("x") | deploy.s(password="hunter2"))
    assert "hunter2" not in shown(group(deploy.si("x", "hunter2"), deploy.s("hunter2")))
    assert "hunter2" not in repr(deploy.s("hunter2"))
    assert "Oslo" not in shown({"task": "shop.gone", "args": ["Oslo"], "kwargs": {"a": "Oslo"}})


def test_no_argument_of_an_unknown_function_is_shown() -> None:
    shown = shown_arguments(rules_of("shop.gone"), ["Oslo", 12345], {"a": "Bergen"})
    assert shown.args == [REDACTED, REDACTED]
    assert shown.kwargs == {"a": REDACTED}
    assert shown.value({"answer": 42}) == REDACTED
    assert shown.text("from Oslo to Bergen: 12345") == f"from {REDACTED} to {REDACTED}: {REDACTED}"


def test_what_is_no_call_is_not_shown(registered: Any) -> None:
    @job(name="shop.one")
    def one(first: str) -> None: ...

    shown = shown_arguments(rules_of("shop.one"), {"password": "row-secret"}, {})
    assert shown.args == REDACTED
    assert shown.text("row-secret") == REDACTED
    assert shown.value("anything") == REDACTED


def test_defaults_in_a_signature_are_redacted(registered: Any) -> None:
    @dataclasses.dataclass
    class Config:
        key: str = "hunter2"

    @job(name="shop.many")
    def many(
        a: int = 1, config: Any = {"password": "hunter2"}, password: str = "hunter2",  # noqa: B006
        other: Any = Config(), url: str = "redis://:hunter2@host", f: Any = len,  # noqa: B008
    ) -> None: ...  # fmt: skip

    assert "hunter2" not in many.shown_signature
    for text in ("a: int = 1", "'password': '********'", "other: Any = <Config>", "f: Any = len"):
        assert text.replace(": Any", ": 'Any'").replace(": int", ": 'int'") in many.shown_signature


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_failure_has_no_secret_in_message_traceback_or_args() -> None:
    failure = describe(raised(ValueError("bad hunter2", "hunter2")), Secrets(["hunter2"]))
    assert failure.error_class == "builtins.ValueError"
    for text in (failure.message, failure.traceback, failure.args):
        assert text
        assert "hunter2" not in text
        assert REDACTED in text


def test_failure_has_no_secret_deep_in_its_args() -> None:
    error = ValueError({"sent": ["hunter2", 12345]}, ("hunter2",), 7)
    failure = describe(raised(error), Secrets(["hunter2", "12345"]))
    assert json.loads(failure.args or "") == [{"sent": [REDACTED, REDACTED]}, [REDACTED], 7]


def test_failure_quotes_no_row_that_postgresql_refused() -> None:
    text = (
        'null value in column "x"\nDETAIL:  Failing row contains (1, ["hunt, {"a": ").\n"}, null).'
    )
    failure = describe(raised(ValueError(text)), NO_SECRETS)
    for told in (failure.message, failure.traceback):
        assert "null value in column" in told
        assert "Failing row contains (not shown)" in told
        assert "hunt" not in told.replace(f"raise ValueError({text!r})", "")


def test_failure_of_a_chained_error_hides_the_secret_in_its_cause() -> None:
    try:
        try:
            raise KeyError("hunter2")
        except KeyError as cause:
            raise ValueError("outer") from cause
    except ValueError as error:
        failure = describe(error, Secrets(["hunter2"]))
    assert "KeyError" in failure.traceback
    assert "hunter2" not in failure.traceback.replace('raise KeyError("hunter2")', "")


def test_failure_can_be_stored_everywhere() -> None:
    failure = describe(raised(ValueError("a\0b \ud800")), NO_SECRETS)
    assert failure.message == "a\\x00b \\ud800"
    assert failure.args is None
    failure.traceback.encode()


def test_failure_is_bounded() -> None:
    failure = describe(raised(ValueError("x" * 100_000)), NO_SECRETS)
    assert len(failure.message) < MAX_MESSAGE + 100
    assert len(failure.traceback) < MAX_TRACEBACK + 100
    assert "characters cut" in failure.message
    assert failure.args is None


def test_failure_of_an_error_that_cannot_be_printed() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert describe(raised(Broken()), NO_SECRETS).message == "(its __str__ raised RuntimeError)"
